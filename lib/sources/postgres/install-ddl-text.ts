import { MillraceError } from '../../errors.ts';
import { type Clock, systemClock } from '../../flow/index.ts';
import { readServer } from './catalog.ts';
import { ControlConnection } from './connection.ts';
import { installCarrier, readCarrier } from './ddl-text.ts';
import { checkName, connectionOf } from './options.ts';

export interface InstallDdlTextOptions {
  /** The database, as a superuser. */
  readonly url: string;
  /** Default `millrace`. */
  readonly slot?: string;
  /** Default `millrace`. */
  readonly publication?: string;
  readonly clock?: Clock;
}

/**
 * Installs what `postgres({ ddlText: true })` needs on the server, for that slot and publication, which need not be there yet. A start does the same, where its
 * role may; `teardown` removes it.
 *
 * @returns `present` when it was there.
 * @throws MR_DDL_TEXT_REFUSED when the role may not, MR_SOURCE_IS_STANDBY, MR_SOURCE_VERSION.
 */
export async function installDdlText(options: InstallDdlTextOptions): Promise<'installed' | 'present'> {
  const { url, slot = 'millrace', publication = 'millrace', clock = systemClock } = options;
  checkName('slot', slot);
  checkName('publication', publication);
  const server = connectionOf(url);
  const control = new ControlConnection({ ...server, applicationName: 'millrace ddl-text', clock });
  try {
    const { query } = control;
    const { versionNumber, version, isStandby } = await readServer(query);
    if (versionNumber < 140000) throw new MillraceError('MR_SOURCE_VERSION', { version });
    if (isStandby) throw new MillraceError('MR_SOURCE_IS_STANDBY', { address: server.address });
    const carrier = { slot, publication, versionNumber };
    if ((await readCarrier(query, carrier)) === 'present') return 'present';
    await installCarrier(query, carrier, server.user);
    return 'installed';
  } finally {
    await control.close();
  }
}
