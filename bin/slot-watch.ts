import { MillraceError, systemClock } from '../lib/index.ts';
import { identifySystem } from '../lib/sources/postgres/catalog.ts';
import { ControlConnection } from '../lib/sources/postgres/connection.ts';
import { connectionOf } from '../lib/sources/postgres/options.ts';
import { slotHolder } from '../lib/sources/postgres/slot-lock.ts';
import { mayHoldChanges } from '../lib/sources/postgres/slot-peek.ts';
import type { RememberedSource } from './target.ts';

export interface SlotWatch {
  /** Whether a capture lives at the moment: from its start on, while it copies, streams or connects again, to its end. */
  isActive(): Promise<boolean>;
  /** Whether a capture that goes on at `fromTs` may still get changes of rows from before `toTs`; true where that cannot be known. */
  mayHoldChanges(fromTs: bigint, toTs: bigint): Promise<boolean>;
  close(): Promise<void>;
}

/** Looks at the slot of a capture, and leaves it alone. */
export function watchSlot(url: string, names: Pick<RememberedSource, 'slot' | 'publication'>): SlotWatch {
  const control = new ControlConnection({ ...connectionOf(url), applicationName: 'millrace verify', clock: systemClock });
  return {
    isActive: async () => (await slotHolder(control.query, names.slot)) !== null,
    mayHoldChanges: (fromTs, toTs) => mayHoldChanges(control.query, names, fromTs, toTs),
    close: () => control.close(),
  };
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
