import { canalJson } from '../lib/formats/canal-json.ts';
import { csv } from '../lib/formats/csv.ts';
import type { RowEncoder } from '../lib/formats/encoder.ts';

export type BenchProtocol = 'canal-json' | 'csv';

/** The encoder of a row format, as the sink has it by default; its time stands still. */
export function benchEncoder(protocol: BenchProtocol): RowEncoder {
  return protocol === 'csv' ? csv() : canalJson({ now: () => NOW_MS });
}

const NOW_MS = 1_700_000_000_123;
