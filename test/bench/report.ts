// The two reports of the benches: rows for programs, a page for people.

import { INTERVAL_MS } from '../bed/series.ts';
import { LINE_STYLE, curveChart, legend, rateChart, standalone } from './charts.ts';
import { formatFigure, judge } from './limits.ts';
import type { BenchVerdict } from './limits.ts';
import type { Bench } from './names.ts';
import { curvesOf, ratesOf, rowsOf } from './record.ts';
import type { Curve, Part, Row } from './record.ts';
import { htmlPage, htmlTable } from './page.ts';
import { MAX_STALL_MS } from './stalls.ts';
import { CURVE_PERCENTS } from '../bed/statistics.ts';
import { escapeText } from './svg.ts';
import { tableOf } from './table.ts';
import { missedOf } from './verdict.ts';

/** All that a run of the benches has to show. */
export interface BenchReport {
  readonly kernel: string;
  readonly cpus: number;
  readonly cpuModel: string;
  readonly quick: boolean;
  /** ISO 8601. */
  readonly measuredAt: string;
  readonly repeats: number;
  /** What was used, and of which version. */
  readonly tools: Readonly<Record<string, string>>;
  readonly rows: readonly Row[];
  readonly verdicts: readonly BenchVerdict[];
  readonly parts: readonly Part[];
}

/** Puts together what the benches have kept. `wanted` are the scenarios that had to be measured. */
export function collectReport(
  parts: readonly Part[],
  wanted: Parameters<typeof judge>[1],
  tools: Readonly<Record<string, string>>,
): BenchReport {
  const [first] = parts;
  const different = (values: readonly string[]): string => [...new Set(values)].join(', ');
  const rows = parts.flatMap(rowsOf);
  const repeats = parts.flatMap(({ records }) => records.map(({ repeat }) => repeat + 1));
  return {
    kernel: different(parts.map(({ kernel }) => kernel)),
    cpus: first?.cpus ?? 0,
    cpuModel: different(parts.map(({ cpuModel }) => cpuModel)),
    quick: parts.some(({ quick }) => quick),
    measuredAt: first?.measuredAt ?? '',
    repeats: Math.max(0, ...repeats),
    tools,
    rows,
    verdicts: judge(rows, wanted, parts.find(({ baseline }) => baseline !== undefined)?.baseline),
    parts,
  };
}

/** Content of report.json: the rows first, then all runs. */
export function jsonReport(report: BenchReport): string {
  const { kernel, cpus, cpuModel, rows, quick, measuredAt, repeats, tools, verdicts, parts } =
    report;
  const about = { cpuModel, quick, measuredAt, repeats, tools, verdicts };
  const curves = { curvePercents: CURVE_PERCENTS, rateIntervalMs: INTERVAL_MS };
  const head = JSON.stringify({ kernel, cpus, rows, ...about, ...curves }, undefined, 2);
  // The runs are for programs: a line for each of them.
  const lines = parts.map((part) => `    ${JSON.stringify(part)}`).join(',\n');
  return `${head.slice(0, -2)},\n  "runs": [\n${lines}\n  ]\n}\n`;
}

const TITLES: Readonly<Record<Bench, string>> = {
  latency: 'How long requests wait beside bulk of the same pod',
  accuracy: 'How exactly TCP is held to a cap',
  udp: 'What is delivered of datagrams beyond a cap',
  exact: 'Whether several processors are charged in full',
  cost: 'What a packet costs the processor',
  live: 'A cap changed under load',
  memory: 'Memory of the BPF maps',
  ingress: 'What a capped pod receives',
  samenode: 'A cap towards another pod of the node',
  node: 'A cap towards the node itself',
  bystanders: 'What those without a cap get beside one',
  wiring: 'What it costs to join a pod to its node',
  control: 'What calls of the CNI plugin cost',
  scale: 'What the helper takes of a node with many pods',
};

const EXPLANATIONS: Readonly<Record<Bench, string>> = {
  latency:
    'One pod sends in bulk (iperf3) and asks (sockperf under-load, UDP, 256 bytes; 500 requests a second and flow, 200 at ' +
    '10 Mbit/s) at the same time, under one cap, through ordinary forwarding. A scenario is named: cap, congestion control, bulk × ' +
    'request flows, 500 requests a second each unless the name says another number (200 at 10 Mbit/s). Times are whole round trips, from the first request 2 s after bulk has begun. “none” is the reference: the ' +
    'same requests of a pod without a cap and without bulk. cap_used_share: all frames of the pod at the peer over ' +
    'the cap. rr_lost_share: requests without an answer, which the percentiles leave out. bulk_rtt_us: mean smoothed round-trip time of the bulk senders.',
  accuracy:
    'TCP flows (iperf3, cubic) against a cap; whole Ethernet frames counted at the peer. max_window_share: the highest of all windows of ' +
    '1 s, which begin every 100 ms from the first frame on. mean_share: from the second second to the end.',
  udp:
    'Datagrams of 1400 bytes of payload (iperf3) offered at the cap and at twice the cap. delivered_share: frames at the peer over ' +
    'what the cap allows, from the second second on.',
  exact:
    'Senders on one aggregate, by BPF_PROG_TEST_RUN, at a rate at which each packet is charged exactly 100 ns. ' +
    'uncharged_share: the part of the charges that the clock did not advance by.',
  cost:
    'ns_per_packet: what BPF_PROG_TEST_RUN takes, with the same entrance for both steps, the shortest of 40 turns that both take side by side; step_ns: without ' +
    'what it takes for a program that does nothing. sparse: for the plain step a packet that meets no backlog. The flow’s hash is in the packet already, as it is ' +
    'in those of TCP.',
  live:
    '`podpaced set` changes the cap under one TCP flow. settle_ms: from when the command has returned until 100 ms within 2 % of the new ' +
    'cap begin; command_ms: what the command itself takes. reordered: TCPSACKReorder and TCPTSReorder of the pod.',
  memory:
    'Attachments with a cap in each direction, each with a packet sent through; memlock of all maps, as the kernel accounts them.',
  ingress:
    'One TCP flow (iperf3, cubic) from the peer into a pod with a cap of 20 Mbit/s on what it receives; payload and frames counted at the ' +
    'pod. first_second_mbit: frames, from the first data frame on. 20M-rr: requests of the pod beside it (sockperf, 200 a second). ' +
    '20M-both: both directions capped and loaded; 20M-egress: the other one by itself. wire_mbit: all frames, also the acknowledgements ' +
    'of the other direction, which the cap counts and goodput does not.',
  samenode:
    'One TCP flow (iperf3) from a pod with a cap of 2 Mbit/s on what it sends to a pod of the same node without a cap, through ' +
    'routes, one bridge or netkit pairs; payload counted at the receiver, from the second second on.',
  node:
    'One TCP flow, or datagrams of 1400 bytes at three times the cap, from a pod to a listener of its node: at the node’s address, through DNAT, ' +
    'by TPROXY; beside it 50 requests a second by UDP. Payload counted at the listener, as frames; mean_mbit from the second second on, max_second_mbit ' +
    'from the first byte on. podpace polices this way: nothing can hold it.',
  bystanders:
    'Four TCP flows (iperf3) as fast as they go to the peer, on a node where podpace caps another pod and on one without podpace: from the node itself, ' +
    'from a pod without caps, and from the capped pod to an exempt address (there: from a pod without caps).',
  wiring:
    'A pod without a cap, joined to the node in different ways, and the node itself (host). stream_mbit: one TCP flow (iperf3) to the ' +
    'peer, stream_in_mbit: from it; cpu_s_per_gb: processor time of the whole machine, both ends included, for each 10^9 bytes. ' +
    'Short turns of all in rotation, medians of the turns. rr_per_sec, rr_p99_us: one request at a time over TCP (sockperf ping-pong, 256 bytes), rr_in: asked by the peer. -routing: host routing. queue-100M: one flow under a cap, AQM off, and under the plain step behind ptp; pace-400M: a socket that asks for 400 Mbit/s ' +
    'under a cap of 600 (pace_share: payload, of the 400); lossy: cap 50 Mbit/s, 20 ms and 1 % of loss at the peer, behind where frames are counted.',
  control:
    'Calls in rounds, all systems in turn, both caps. add, check and del by cnitool, with all plugins of the list (go-chain: Debian’s ptp, host-local and bandwidth); on a node without other ' +
    'pods, or (tenth) beside nine; ' +
    'the others call the plugin by itself: del-again of a pod that is gone, with an IPAM plugin or after another plugin (chained). empty-executable: an empty program packed ' +
    'as the plugin is, and in del-again the IPAM plugin’s own call besides. cpu: processor time of all processes of a call; helper_cpu: that of podpaced meanwhile, until it was at rest. ' +
    'peak_rss_mib: of calls for which the plugin was read from the disk. Where the kernel has no sch_fq pods are added without their caps (onUnenforceable is allow).',
  scale:
    'Attachments with a cap in each direction; the helper’s own figures. idle_share: of a processor, while nobody asks; status and list: medians of five, list with all ' +
    'its pages. longest_busy_ms: the longest that the event loop kept a request waiting which needs no look at the node. attach: processor time of each of ' +
    'the first and the last 50. Where the kernel has no sch_fq nothing is attached: the helper starts with records, and tells of a fault at each interface.',
};

function chartsOf(part: Part): string {
  const { bench } = part;
  const draw =
    bench === 'latency'
      ? { lines: curvesOf(part), chart: curveChart }
      : { lines: ratesOf(part), chart: rateChart };
  const scenarios = [...new Set(draw.lines.map(({ scenario }) => scenario))];
  if (scenarios.length === 0) return '';
  const figures = scenarios.map((scenario) => {
    const lines = draw.lines.filter((line) => line.scenario === scenario);
    return `<figure><figcaption>${escapeText(scenario)}</figcaption>${draw.chart(scenario, lines)}</figure>`;
  });
  const systems = new Set(draw.lines.map(({ system }) => system));
  return `${legend(systems)}<div class="panels">${figures.join('\n')}</div>`;
}

function verdictList(verdicts: readonly BenchVerdict[]): string {
  const items = verdicts.map(
    ({ met, text }) =>
      `<li class="${met ? 'met' : 'missed'}">${met ? '✓' : '✗'} ${escapeText(text.replace(/^\S+ /, ''))}</li>`,
  );
  return items.length === 0 ? '' : `<ul class="verdicts">${items.join('')}</ul>`;
}

function section(part: Part, report: BenchReport): string {
  const { bench, clock, wiring } = part;
  const revision = part.revision === undefined ? '' : `, podpace ${part.revision}`;
  const counted =
    clock === undefined
      ? ''
      : ' The clock of this VM counted instructions, 2 ns each, and not time: what else the machine had to do changes nothing.';
  const wired = wiring === undefined ? '' : ` podpace joined its pods by ${wiring}.`;
  const own = report.verdicts.filter((verdict) => verdict.bench === bench);
  const table = tableOf(bench, rowsOf(part));
  const processors = `${part.cpus} ${part.cpus === 1 ? 'CPU' : 'CPUs'} (${part.cpuModel})`;
  return `<section>
<h2>${escapeText(TITLES[bench])}</h2>
<p class="soft">${escapeText(EXPLANATIONS[bench] + counted + wired)}</p>
${chartsOf(part)}
${htmlTable(table.columns, table.rows)}
${verdictList(own)}
<p class="soft">${escapeText(`Measured ${part.measuredAt}, kernel ${part.kernel}, ${processors}${revision}.`)}</p>
</section>`;
}

/** The sentence that matters most: a pod's requests beside its own bulk. */
function summary({ rows, verdicts }: BenchReport): string {
  const missed = missedOf(verdicts).length;
  const judged =
    missed === 0
      ? `podpace meets all ${verdicts.length} figures.`
      : `podpace misses ${missed} of ${verdicts.length} figures.`;
  const p99 = (system: string): number | undefined =>
    rows.find(
      (row) =>
        row.scenario === '100M-cubic-1x1' && row.system === system && row.metric === 'rr_p99_us',
    )?.value;
  const [own, tbf, plain, idle] = [p99('podpace'), p99('tbf'), p99('edt-fifo'), p99('none')];
  if (own === undefined || tbf === undefined || plain === undefined || idle === undefined)
    return judged;
  const ms = (us: number): string => `${formatFigure(us / 1000)} ms`;
  return (
    `A request beside one bulk flow under 100 Mbit/s, 99th percentile: podpace ${ms(own)}, the CNI bandwidth plugin ${ms(tbf)}, ` +
    `the plain departure step ${ms(plain)}; of an idle pod without a cap ${ms(idle)}. ${judged}`
  );
}

const STYLE = `
.lead { font-weight: 600; }
.warning { color: var(--missed); font-weight: 600; }
.verdicts { padding: 0; list-style: none; margin: .75rem 0; }
.verdicts .met { color: var(--soft); }
.verdicts .missed { color: var(--missed); font-weight: 600; }
${LINE_STYLE}
`;

/** Content of report.html: one file that needs nothing beside it. */
export function htmlReport(report: BenchReport): string {
  const { kernel, quick, measuredAt, repeats, tools, parts } = report;
  const used = Object.entries(tools).map(([name, version]) => `${name} ${version}`);
  const body = `<h1>podpace beside what others do</h1>
<p class="soft">Same pods, same caps, same load, each bench in one run, kernel ${escapeText(kernel)}. Figures are medians of
${repeats} ${repeats === 1 ? 'run' : 'runs'}, taken in turn. A run during which the machine itself stood still for more than ${MAX_STALL_MS} ms was made again, up to four times, whichever system it was.</p>
${quick ? '<p class="warning">A quick run: short loads, one repeat. It shows that the benches work; its figures are none to go by.</p>' : ''}
<p class="lead">${escapeText(summary(report))}</p>
<ul>
<li><b>podpace</b>: the conflist as shipped, the burst that containerd passes when nobody sets one.</li>
<li><b>tbf</b>: the CNI bandwidth plugin (the kernel’s token bucket filter behind an IFB device) after ptp, burst 1 Mbit.</li>
<li><b>edt-fifo</b>: ptp and the plain departure step as it is in wide use: one clock per pod without atomics, 2 s horizon, fq at its defaults.</li>
<li><b>none</b>: ptp, no cap.</li>
</ul>
${parts.map((part) => section(part, report)).join('\n')}
<footer>
<p>Each system has a node, a peer and a pod of its own: network namespaces joined by veth pairs, the uplink with 4 queues. Only the system that is
measured runs; the helper of podpace is halted meanwhile.</p>
<p>${escapeText(used.join('; '))}. Measured ${escapeText(measuredAt)}.</p>
</footer>`;
  return htmlPage({ title: 'podpace benches', style: STYLE }, body);
}

/**
 * Distribution of round trips of the first latency scenario, as a picture by itself; undefined
 * without that scenario.
 */
export function latencyPicture({ parts }: BenchReport): string | undefined {
  const lines = parts
    .filter(({ bench }) => bench === 'latency')
    .flatMap(curvesOf)
    .filter(({ scenario }: Curve) => scenario === '100M-cubic-1x1');
  if (lines.length === 0) return undefined;
  const title = 'Round trips of a pod’s requests beside its own bulk flow, cap 100 Mbit/s';
  return standalone(title, lines);
}
