import test from 'ava';
import { isKernelSupported } from '../../../../helper/shaping/kernel-version.ts';

test('kernels from the oldest tested one on are supported, whatever the distribution adds to the release', (t) => {
  for (const release of ['6.1.0-56-cloud-amd64', '6.1', '6.12.117+deb12-cloud-amd64', '6.18.44', '10.0.0']) {
    t.true(isKernelSupported(release), release);
  }
  for (const release of ['6.0.19', '5.15.0-100-generic', '5.99.1', '4.19', '', 'linux']) {
    t.false(isKernelSupported(release), release);
  }
});
