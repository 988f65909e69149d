import { systemClock } from '../../../../../lib/flow/index.ts';
import { describeSource, SimDatabase, SimServer, type SourceChange, simPostgres } from '../../../../../lib/testing/index.ts';

const columns = ['!id text', 'note text'];
const TABLES = [
  { name: 'public.a', columns },
  { name: 'public.b', columns },
  { name: 'public.elsewhere', columns, isPublished: false },
];

// In real time, which the suite needs: nothing goes wrong here.
describeSource('simulated postgres', async () => {
  const database = new SimDatabase({ random: () => systemClock.random(), now: () => systemClock.now(), tables: TABLES });
  const server = new SimServer({ database, clock: systemClock });
  let elsewhere = 0;
  return {
    source: simPostgres({ server, statusIntervalMs: 100 }),
    commit: async (changes: readonly SourceChange[]) => {
      database.transact((transaction) => {
        for (const change of changes) {
          const table = database.table(`public.${change.table}`);
          if (change.op === 'truncate') transaction.truncate(table);
          else if (change.op === 'delete') transaction.delete(table, { id: change.id });
          else transaction[change.op](table, { id: change.id, note: change.note });
        }
      });
    },
    commitElsewhere: async () => {
      database.transact((transaction) => transaction.insert(database.table('public.elsewhere'), { id: String(++elsewhere) }));
    },
    close: async () => {},
  };
});
