import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { createContext } from '../../../lib/flow/index.ts';
import type { ColumnSpec, EventHandler } from '../../../pipelines/index.ts';
import { FIRST_TRY, groupOf } from './events.ts';

/** A handler with an empty target of its own. */
export interface HandlerUnderTest {
  readonly handler: EventHandler;
  /** The rows at the target as `table/type/id/row`, in the order of their delivery, each once. */
  rows(): Promise<string[]>;
  close?(): Promise<void>;
}

const COLUMNS: ColumnSpec[] = [{ name: 'host', type: 'string', semantic: 'tag' }];

/** What a recorder relies on, whatever the target is. */
export function describeEventHandler(name: string, make: () => Promise<HandlerUnderTest>): void {
  describe(`${name} as an event handler`, () => {
    let target: HandlerUnderTest;

    beforeEach(async () => {
      target = await make();
      await target.handler.open?.(createContext());
    });
    afterEach(async () => {
      await target.handler.close?.();
      await target.close?.();
    });

    it('G2: delivers whole groups, in the order of their events', async () => {
      await target.handler.deliver(groupOf([{ type: 'a' }, { type: 'a', payload: { n: 1 } }]), FIRST_TRY);
      await target.handler.deliver(groupOf([{ type: 'a', extraSchema: COLUMNS, extraRows: [['x'], ['y']] }], { from: 3n }), FIRST_TRY);
      expect(await target.rows()).toEqual(['events/a/e0001/0', 'events/a/e0002/0', 'events/a/e0003/0', 'events/a/e0003/1']);
    });

    it('C5.21: keeps tables and types apart', async () => {
      await target.handler.deliver(groupOf([{ type: 'a' }]), FIRST_TRY);
      await target.handler.deliver(groupOf([{ type: 'b' }], { from: 2n }), FIRST_TRY);
      await target.handler.deliver(groupOf([{ type: 'a', table: 'others' }], { from: 3n }), FIRST_TRY);
      expect((await target.rows()).toSorted()).toEqual(['events/a/e0001/0', 'events/b/e0002/0', 'others/a/e0003/0']);
    });

    it('G7: shows an event once, however often its group was delivered, and cut in whatever way', async () => {
      const group = groupOf([{ type: 'a' }, { type: 'a' }, { type: 'a' }]);
      await target.handler.deliver({ ...group, events: group.events.slice(0, 2) }, FIRST_TRY);
      await target.handler.deliver(group, { ...FIRST_TRY, attempt: 2 });
      await target.handler.deliver(group, { ...FIRST_TRY, attempt: 3 });
      expect(await target.rows()).toEqual(['events/a/e0001/0', 'events/a/e0002/0', 'events/a/e0003/0']);
    });

    it('C5.24: takes a group without events, and one whose events have no row', async () => {
      await target.handler.deliver({ ...groupOf([{ type: 'a' }]), events: [] }, FIRST_TRY);
      await target.handler.deliver(groupOf([{ type: 'a', extraRows: [] }]), FIRST_TRY);
      await target.handler.deliver(groupOf([{ type: 'a' }], { from: 2n }), FIRST_TRY);
      expect(await target.rows()).toEqual(['events/a/e0002/0']);
    });

    it('C5.22: refuses a group of two schemas for good, and goes on with the next', async () => {
      const mixed = groupOf([{ type: 'a' }, { type: 'a', extraSchema: COLUMNS, extraRows: [] }]);
      await expect(target.handler.deliver(mixed, FIRST_TRY)).rejects.toMatchObject({ code: 'MR_EVENT_SCHEMA_MISMATCH' });
      await target.handler.deliver(groupOf([{ type: 'a' }], { from: 3n }), FIRST_TRY);
      expect(await target.rows()).toEqual(['events/a/e0003/0']);
    });

    it('rejects a call whose signal is aborted already, and takes its group later', async () => {
      const group = groupOf([{ type: 'a' }]);
      await expect(target.handler.deliver(group, { signal: AbortSignal.abort(), attempt: 1 })).rejects.toThrow();
      await target.handler.deliver(group, { ...FIRST_TRY, attempt: 2 });
      expect(await target.rows()).toEqual(['events/a/e0001/0']);
    });

    it('can be opened again after it was closed, as the same definition may run again', async () => {
      await target.handler.deliver(groupOf([{ type: 'a' }]), FIRST_TRY);
      await target.handler.close?.();
      await target.handler.open?.(createContext());
      await target.handler.deliver(groupOf([{ type: 'a' }], { from: 2n }), FIRST_TRY);
      expect(await target.rows()).toEqual(['events/a/e0001/0', 'events/a/e0002/0']);
    });
  });
}
