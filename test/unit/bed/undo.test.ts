import test from 'ava';
import { UndoStack } from '../../bed/undo.ts';

test('what was made last is undone first, and only once', async (t) => {
  const undone: string[] = [];
  const undo = new UndoStack();
  undo.defer('undo the first', () => void undone.push('first'));
  undo.defer('undo the second', async () => {
    await Promise.resolve();
    undone.push('second');
  });
  await undo.run();
  await undo.run();
  t.deepEqual(undone, ['second', 'first']);
});

test('a step that fails does not keep the others from being done', async (t) => {
  const undone: string[] = [];
  const undo = new UndoStack();
  undo.defer('undo the first', () => void undone.push('first'));
  undo.defer('fail, as this test wants', () => {
    throw new Error('no');
  });
  await undo.run();
  t.deepEqual(undone, ['first']);
});
