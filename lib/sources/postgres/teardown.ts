import { MillraceError } from '../../errors.ts';
import { type Clock, systemClock } from '../../flow/index.ts';
import { readPublication, readServer, readSlot } from './catalog.ts';
import { ControlConnection } from './connection.ts';
import { removeCarrier } from './ddl-text.ts';
import { checkName, connectionOf } from './options.ts';
import { isOwned } from './publication.ts';
import { quoteIdentifier } from './session-settings.ts';
import { checkSlotKind, dropSlot } from './slot.ts';
import { takeSlotAlone } from './slot-lock.ts';

export interface TeardownOptions {
  readonly url: string;
  /** Default `millrace`. */
  readonly slot?: string;
  /** Default `millrace`. */
  readonly publication?: string;
  readonly clock?: Clock;
}

export interface TeardownReport {
  /** `kept`: the publication is not one that a capture created for this slot. */
  readonly slot: 'dropped' | 'absent';
  readonly publication: 'dropped' | 'absent' | 'kept';
  /** The event triggers of `ddlText`, and their function. */
  readonly ddlText: 'dropped' | 'absent';
}

/**
 * Removes what a capture created on the server: the slot, what carried the text of schema changes to it, and the publication if it was made for it. What is
 * not there is no error.
 *
 * @throws MR_SLOT_ACTIVE while somebody reads the slot, or a capture of it starts or copies, MR_SLOT_FOREIGN when it is of another database or kind, MR_SOURCE_PERMISSION when there are event
 * triggers and the role may not drop them; then nothing was removed.
 */
export async function teardown(options: TeardownOptions): Promise<TeardownReport> {
  const { url, slot = 'millrace', publication = 'millrace', clock = systemClock } = options;
  checkName('slot', slot);
  checkName('publication', publication);
  const server = connectionOf(url);
  const control = new ControlConnection({ ...server, applicationName: 'millrace teardown', clock }, true);
  try {
    const { query } = control;
    const { versionNumber } = await readServer(query);
    const facts = await readSlot(query, slot, versionNumber);
    if (facts !== null) {
      checkSlotKind(slot, facts, server.database);
      if (facts.activePid !== null) throw new MillraceError('MR_SLOT_ACTIVE', { slot, pid: facts.activePid });
    }
    await takeSlotAlone(query, slot);
    const hadCarrier = await removeCarrier(query, slot, server.user);
    if (facts !== null) await dropSlot(query, slot);
    const found = await readPublication(query, publication);
    const isOurs = found !== null && isOwned(found, slot);
    if (isOurs) await query(`DROP PUBLICATION ${quoteIdentifier(publication)}`);
    return {
      slot: facts === null ? 'absent' : 'dropped',
      publication: found === null ? 'absent' : isOurs ? 'dropped' : 'kept',
      ddlText: hadCarrier ? 'dropped' : 'absent',
    };
  } finally {
    await control.close();
  }
}
