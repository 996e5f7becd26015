import type { Kernel } from '../kernels.ts';
import type { Architecture } from '../target.ts';

/** How QEMU executes the guest's instructions. */
export type Accelerator = 'kvm' | 'tcg';

/** The virtual machine as QEMU is told. */
export interface MachineSettings {
  architecture: Architecture;
  accelerator: Accelerator;
  /**
   * The guest's clock counts instructions and not time, so that what it measures depends on what it
   * does and on nothing else. By `tcg` only; several times slower, with the guest's processors
   * taking turns on one of the machine's.
   */
  countsInstructions: boolean;
  /**
   * With that clock: time in which the guest only waits takes none. What waits for this machine,
   * for a file say, then takes the guest any time, as its timers go off meanwhile.
   */
  skipsIdleTime: boolean;
  /** A network device that leads to the network namespace of QEMU, by its user networking. */
  hasNetwork: boolean;
  cpus: number;
  memoryMib: number;
  kernel: Kernel;
  initramfsPath: string;
  /** Unix socket on which virtiofsd waits. */
  fileSystemSocket: string;
  consoleLogPath: string;
}

interface Platform {
  emulator: string;
  machine: string;
  console: string;
  /** Kernel parameters that only this processor knows. */
  parameters: readonly string[];
}

/**
 * The guest's ports in the order of the descriptors, from 3 on, on which QEMU must inherit their
 * stream sockets.
 */
export const portNames = ['stdout', 'stderr', 'control'] as const;
const FIRST_PORT_FD = 3;

const KERNEL_PARAMETERS = [
  'quiet',
  // With -no-reboot: a kernel that has gone wrong ends QEMU at once.
  'panic=-1',
  'oops=panic',
  // These cost an emulated processor much and protect nothing here.
  'cryptomgr.notests',
  'mitigations=off',
  'init_on_alloc=0',
  'hardened_usercopy=off',
  'randomize_kstack_offset=off',
  // QEMU translates machine code anew for each address that it stands at: 2.5 times the price of a
  // new process.
  'norandmaps',
];
/**
 * On a busy machine the guest's timer checks go wrong, and it falls back to clocks that are slow to
 * read.
 */
const X86_PARAMETERS = ['no_timer_check', 'tsc=reliable'];

const PLATFORMS: Readonly<Record<Architecture, Platform>> = {
  x64: {
    emulator: 'qemu-system-x86_64',
    machine: 'q35',
    console: 'ttyS0',
    parameters: X86_PARAMETERS,
  },
  arm64: { emulator: 'qemu-system-aarch64', machine: 'virt', console: 'ttyAMA0', parameters: [] },
};

/**
 * The first thread of QEMU delivers the guest's timers. While the emulated processors, which are
 * threads of their own and ordinary (-R), keep this machine's busy, it would wait milliseconds for
 * its turn.
 */
const PROMPT_TIMERS = ['chrt', '-R', '-f', '1'];

/** 2 ns for an instruction: a processor of 500 MIPS, on which the loads of the benches fit. */
const INSTRUCTION_SHIFT = 1;

function execution({ accelerator, countsInstructions, skipsIdleTime }: MachineSettings): string[] {
  if (countsInstructions) {
    const clock = `shift=${INSTRUCTION_SHIFT},sleep=${skipsIdleTime ? 'off' : 'on'}`;
    return ['-accel', 'tcg,thread=single', '-icount', clock];
  }
  return ['-accel', accelerator === 'tcg' ? 'tcg,thread=multi' : 'kvm'];
}

/**
 * What an emulated processor does better without: `rep movsb`, which QEMU goes through byte by byte
 * and kernels believe to be the fastest of all copies (erms); registers of 256 bits, which it
 * emulates in halves and switches whole (avx, avx2); and what ends a translated block at each copy
 * from a process, or a page's walk a level later (smap, smep, umip, pku, la57).
 */
const SLOW_EMULATED = ['erms', 'avx', 'avx2', 'smap', 'smep', 'umip', 'pku', 'la57'];

/**
 * QEMU 7.2 emulates cmpxchg16b wrongly where emulated processors run at the same time: kernels die
 * of it under load. Without it they use another way, but since Linux 7 BPF timers and arenas find
 * no memory then.
 */
function processor(settings: MachineSettings): string {
  const { architecture, accelerator, countsInstructions, cpus, kernel } = settings;
  if (accelerator !== 'tcg') return 'max';
  // The most of them has pointer authentication, which is slow to emulate.
  if (architecture === 'arm64') return 'neoverse-n1';
  const isWrong = !countsInstructions && cpus > 1 && Number.parseInt(kernel.release, 10) < 7;
  const without = [...SLOW_EMULATED, ...(isWrong ? ['cx16'] : [])];
  return ['max', ...without.map((feature) => `-${feature}`)].join(',');
}

/** The QEMU command line. */
export function qemuCommand(settings: MachineSettings): string[] {
  const platform = PLATFORMS[settings.architecture];
  const memory = `${settings.memoryMib}M`;
  return [
    ...PROMPT_TIMERS,
    platform.emulator,
    ...['-name', 'podpace'],
    ...['-nodefaults', '-no-user-config', '-no-reboot', '-display', 'none'],
    ...['-machine', `${platform.machine},memory-backend=memory`],
    ...execution(settings),
    ...['-cpu', processor(settings), '-smp', String(settings.cpus), '-m', memory],
    // virtiofsd reads and writes the guest's memory, so that must be a file both can map.
    ...['-object', `memory-backend-memfd,id=memory,size=${memory},share=on`],
    ...['-chardev', `socket,id=files,path=${settings.fileSystemSocket}`],
    ...['-device', 'vhost-user-fs-pci,chardev=files,tag=machine'],
    ...(settings.hasNetwork
      ? ['-netdev', 'user,id=network,ipv6=off', '-device', 'virtio-net-pci,netdev=network,romfile=']
      : []),
    ...['-device', 'virtio-serial-pci'],
    ...portNames.flatMap((name, index) => [
      ...['-chardev', `socket,id=${name},fd=${FIRST_PORT_FD + index}`],
      ...['-device', `virtserialport,chardev=${name},name=${name},nr=${index + 1}`],
    ]),
    ...[
      '-chardev',
      `file,id=console,path=${settings.consoleLogPath}`,
      '-serial',
      'chardev:console',
    ],
    ...['-kernel', settings.kernel.imagePath, '-initrd', settings.initramfsPath],
    ...[
      '-append',
      [`console=${platform.console}`, ...KERNEL_PARAMETERS, ...platform.parameters].join(' '),
    ],
  ];
}
