// ./scripts/image: dist/podpace-image.tar, a container image with plugin and helper.

import path from 'node:path';
import { Command } from 'commander';
import { ensurePodpaceImage, PODPACE_IMAGE, PODPACE_IMAGE_FILE } from './lib/image/podpace.ts';
import { projectRoot } from './lib/paths.ts';
import { run } from './lib/process.ts';
import { say } from './lib/progress.ts';

const program = new Command('image')
  .description('Builds a container image of podpace, an archive that runtimes and registries take.')
  .option('--name <name>', 'what runtimes call it', PODPACE_IMAGE)
  .allowExcessArguments(false)
  .parse();
const { name } = program.opts<{ name: string }>();

try {
  await run(path.join(projectRoot, 'scripts/build'), []);
  const { unpacked, compressed } = await ensurePodpaceImage(name);
  const [whole, stored] = [unpacked, compressed].map((bytes) => (bytes / 1e6).toFixed(1));
  say(
    `${name} is in ${path.relative(process.cwd(), PODPACE_IMAGE_FILE)}: ${stored} MB, ${whole} MB unpacked`,
  );
} catch (error) {
  process.exitCode = 1;
  say(error instanceof Error ? error.message : String(error));
}
