import type { RecorderStatus, Tally } from '../../../pipelines/index.ts';

/** G5, and that each call of `record` is told. */
export function addsUp({ recorded, replayed, accepted, delivered, pending, dropped, refused }: Tally | RecorderStatus): boolean {
  return accepted === delivered + pending + sum(dropped) && recorded + replayed === accepted + sum(refused);
}

function sum(numbers: Readonly<Record<string, number>>): number {
  return Object.values(numbers).reduce((all, each) => all + each, 0);
}
