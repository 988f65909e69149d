import { systemClock } from '../lib/index.ts';
import { readServer, readSlot } from '../lib/sources/postgres/catalog.ts';
import { ControlConnection } from '../lib/sources/postgres/connection.ts';
import { connectionOf } from '../lib/sources/postgres/options.ts';

/** Tells whether somebody reads a replication slot at the moment: whether a capture runs. */
export function watchSlot(url: string, slot: string): { isActive(): Promise<boolean>; close(): Promise<void> } {
  const control = new ControlConnection({ ...connectionOf(url), applicationName: 'millrace verify', clock: systemClock });
  let version: Promise<number> | null = null;
  return {
    isActive: async () => {
      version ??= readServer(control.query).then(({ versionNumber }) => versionNumber);
      return (await readSlot(control.query, slot, await version))?.activePid != null;
    },
    close: () => control.close(),
  };
}
