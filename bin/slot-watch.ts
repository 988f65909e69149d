import { MillraceError, systemClock } from '../lib/index.ts';
import { identifySystem } from '../lib/sources/postgres/catalog.ts';
import { ControlConnection } from '../lib/sources/postgres/connection.ts';
import { connectionOf } from '../lib/sources/postgres/options.ts';
import { quoteLiteral } from '../lib/sources/postgres/session-settings.ts';
import type { RememberedSource } from './target.ts';

/**
 * Tells whether a capture runs at the moment: somebody reads its replication slot, or holds a temporary slot of the snapshots that come before (P5),
 * while nobody reads.
 */
export function watchSlot(url: string, slot: string): { isActive(): Promise<boolean>; close(): Promise<void> } {
  const control = new ControlConnection({ ...connectionOf(url), applicationName: 'millrace verify', clock: systemClock });
  const snapshots = `${slot.slice(0, 40)}_snapshot_`;
  const active = `SELECT slot_name FROM pg_replication_slots WHERE active_pid IS NOT NULL
    AND (slot_name = ${quoteLiteral(slot)} OR temporary AND starts_with(slot_name::text, ${quoteLiteral(snapshots)})) LIMIT 1`;
  return { isActive: async () => (await control.query(active)).length > 0, close: () => control.close() };
}

/**
 * Whether a target holds the changes of this database: positions mean something in the history of one server only, so with another one waiting for its
 * position would be idle (P2).
 *
 * @throws MR_TARGET_OF_ANOTHER_SOURCE.
 */
export async function checkSource(url: string, uri: string, remembered: RememberedSource): Promise<void> {
  if (remembered.systemIdentifier === null || remembered.database === null) return;
  const server = connectionOf(url);
  const control = new ControlConnection({ ...server, applicationName: 'millrace verify', clock: systemClock }, true);
  try {
    const { systemIdentifier } = await identifySystem(control.query);
    if (systemIdentifier === remembered.systemIdentifier && server.database === remembered.database) return;
    const named = (system: string, database: string) => `database ${database} of the server with system identifier ${system}`;
    throw new MillraceError('MR_TARGET_OF_ANOTHER_SOURCE', {
      uri,
      remembered: named(remembered.systemIdentifier, remembered.database),
      source: named(systemIdentifier, server.database),
    });
  } finally {
    await control.close();
  }
}
