// The loaded programs and maps together with the sockets to reach the node: what observing and applying act on.

import { deleteElement, lookupElement, mapKeys, updateElement } from '../kernel/bpf.ts';
import { loadPodpace, type LoadedPodpace } from '../kernel/bpf-loader.ts';
import { openHooks, type Hooks } from '../kernel/hooks.ts';
import { RtSocket } from '../kernel/rtnetlink.ts';
import {
  AGGREGATE_CLOCK_SIZE,
  AGGREGATE_CONFIG_SIZE,
  decodeAggregateConfig,
  decodeHostInterface,
  decodeInterfaceKey,
  encodeAggregateConfig,
  encodeAggregateKey,
  encodeHostInterface,
  encodeInterfaceKey,
  HOST_INTERFACE_SIZE,
  type AggregateConfig,
  type HostInterface,
} from '../wire/aggregate.ts';
import path from 'node:path';
import type { ProgramName } from './plan.ts';

export class Datapath {
  readonly rt: RtSocket;
  readonly hooks: Hooks;
  readonly #loaded: LoadedPodpace;

  /**
   * Loads the programs, reusing compatible pinned maps, so that clocks and configuration outlive the helper.
   * Throws KernelError when the kernel refuses, with the verifier's log.
   */
  constructor(directories: { pins: string; state: string }) {
    this.#loaded = loadPodpace(directories.pins);
    this.rt = RtSocket.open();
    const links = path.join(directories.pins, 'links');
    this.hooks = openHooks(this.rt, { links, marks: path.join(directories.state, 'hooks') });
  }

  program(name: ProgramName): LoadedPodpace['programs'][ProgramName] {
    return this.#loaded.programs[name];
  }

  /** Name of a loaded program by its kernel id; undefined for any other program. */
  programNameOf(id: number): ProgramName | undefined {
    return (['classify', 'depart', 'deliver'] as const).find((name) => this.program(name).id === id);
  }

  /** Configuration of an aggregate; undefined when the entry is unused. */
  readConfig(aggregateId: number): AggregateConfig | undefined {
    const value = lookupElement(
      this.#loaded.maps.aggregateConfig,
      encodeAggregateKey(aggregateId),
      AGGREGATE_CONFIG_SIZE,
    );
    const config = value === undefined ? undefined : decodeAggregateConfig(value);
    return config === undefined || config.rateBytesPerSec === 0 ? undefined : config;
  }

  writeConfig(aggregateId: number, config: AggregateConfig): void {
    updateElement(
      this.#loaded.maps.aggregateConfig,
      encodeAggregateKey(aggregateId),
      encodeAggregateConfig(config),
    );
  }

  /** Makes an aggregate unused: no configuration, clock at zero. */
  clearAggregate(aggregateId: number): void {
    const key = encodeAggregateKey(aggregateId);
    updateElement(this.#loaded.maps.aggregateConfig, key, Buffer.alloc(AGGREGATE_CONFIG_SIZE));
    updateElement(this.#loaded.maps.aggregateClock, key, Buffer.alloc(AGGREGATE_CLOCK_SIZE));
  }

  readHostInterface(ifindex: number): HostInterface | undefined {
    const value = lookupElement(
      this.#loaded.maps.hostInterfaces,
      encodeInterfaceKey(ifindex),
      HOST_INTERFACE_SIZE,
    );
    return value === undefined ? undefined : decodeHostInterface(value);
  }

  writeHostInterface(ifindex: number, entry: HostInterface): void {
    updateElement(this.#loaded.maps.hostInterfaces, encodeInterfaceKey(ifindex), encodeHostInterface(entry));
  }

  removeHostInterface(ifindex: number): void {
    deleteElement(this.#loaded.maps.hostInterfaces, encodeInterfaceKey(ifindex));
  }

  /** Indexes of all host interfaces that have an entry. */
  hostInterfaceIndexes(): number[] {
    return [...mapKeys(this.#loaded.maps.hostInterfaces, 4)].map(decodeInterfaceKey);
  }

  close(): void {
    this.rt.close();
  }
}
