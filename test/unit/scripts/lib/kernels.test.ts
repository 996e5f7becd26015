import test from 'ava';
import { isOfSeries, releaseOf } from '../../../../scripts/lib/kernels.ts';

test('a kernel release is read from the name of its image package and of no other', (t) => {
  t.is(releaseOf('linux-image-7.3.4+deb13-cloud-amd64'), '7.3.4+deb13-cloud-amd64');
  t.is(releaseOf('linux-image-6.1.0-56-cloud-amd64'), '6.1.0-56-cloud-amd64');
  t.is(releaseOf('linux-image-cloud-amd64'), undefined);
  t.is(releaseOf('linux-modules-7.3.4+deb13-cloud-amd64'), undefined);
});

test('7.3 is no other series that begins like it, and newest is any', (t) => {
  t.true(isOfSeries('7.3.4+deb13-cloud-amd64', '7.3'));
  t.false(isOfSeries('7.30.1+deb13-cloud-amd64', '7.3'));
  t.false(isOfSeries('7.4.1+deb13-cloud-amd64', '7.3'));
  t.true(isOfSeries('8.0.1+deb14-cloud-amd64', 'newest'));
  t.true(isOfSeries('6.1.0-56-cloud-amd64', '6.1'));
  t.false(isOfSeries('6.12.117+deb12-cloud-amd64', '6.1'));
  t.true(isOfSeries('6.12.117+deb12-amd64', '6.12-full'));
});
