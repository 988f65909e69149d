import { Observable } from 'rxjs';
import { type ChangeEvent, type Delivery, type DispatcherId, type DmlEvent, type Position, tableName } from '../../../lib/events/index.ts';
import { type Context, link, operator, Ring, type Stage } from '../../../lib/flow/index.ts';
import { dedupePositionStep } from '../../../operators/dedupe-commit-ts.ts';
import { FlushQueue } from '../files/flush-queue.ts';
import type { Target } from '../target.ts';
import { publishedPosition } from './published-position.ts';

/**
 * Drops rows that an earlier run has published, so that the files hold each row once.
 *
 * In plain words: what a crash left between the files and the checkpoint comes again, and is there already.
 *
 * The first rows of a table version wait until the target was asked for the last position that is published of their dispatcher; everything up to there drops, and
 * a block that straddles it is sliced. From the first row behind it on nothing is compared any more. Deliveries keep their order; what they hold counts as durable when
 * it arrives nowhere. It stands before whatever registers deliveries, and only where the source numbers its changes (`OpenSource.hasOrdinals`).
 *
 * @param track hears of the queue of questions, so that whoever closes the store can wait for it.
 */
export function dropPublished(target: Target, track: (queue: FlushQueue) => void): Stage {
  return operator('dropPublished', {}, (context) => (source) => {
    return new Observable((subscriber) => {
      const replays = new Map<DispatcherId, Replay>();
      const waiting = new Ring<Waiting>();
      const questions = new FlushQueue(QUESTIONS_AT_ONCE, (error) => subscriber.error(error));
      track(questions);
      let isSourceDone = false;
      let isRunning = false;
      const run = () => {
        // A delivery may come within the emission of the one before: the outermost call goes on with it.
        if (isRunning) return;
        isRunning = true;
        emitReady();
        isRunning = false;
        if (isSourceDone && waiting.length === 0) subscriber.complete();
      };
      const emitReady = () => {
        for (let head = waiting.peek(); head !== undefined && !subscriber.closed; head = waiting.peek()) {
          if (head.replays.some(({ isAsked }) => !isAsked)) return;
          waiting.shift();
          subscriber.next(head.delivery.with(withoutPublished(head, context)));
        }
      };
      const replayOf = (event: DmlEvent): Replay => {
        const { dispatcher, table } = { dispatcher: event.dispatcher, table: event.rows.table };
        const known = replays.get(dispatcher);
        if (known?.version === table.version) return known;
        const replay: Replay = { version: table.version, table: tableName(table), isAsked: false, last: null, dropped: 0 };
        replays.set(dispatcher, replay);
        questions.push(dispatcher, async () => {
          replay.last = await publishedPosition(target, table);
          replay.isAsked = true;
          run();
        });
        return replay;
      };
      subscriber.add(() => questions.stop());
      link(source, subscriber, {
        next: (delivery) => {
          waiting.push({ delivery, replays: delivery.events.filter((event) => event.type === 'dml').map(replayOf) });
          run();
        },
        complete: () => {
          isSourceDone = true;
          run();
        },
      });
    });
  });
}

/** What is known of one version of a dispatcher's table. */
interface Replay {
  readonly version: bigint;
  readonly table: string;
  /** Whether the target has said how far it is published. */
  isAsked: boolean;
  /** Everything up to here is published; null when nothing is, or when it was passed. */
  last: Position | null;
  /** Rows left out. */
  dropped: number;
}

interface Waiting {
  readonly delivery: Delivery;
  /** Of the rows in it, one by one. */
  readonly replays: readonly Replay[];
}

function withoutPublished({ delivery, replays }: Waiting, context: Context): readonly ChangeEvent[] {
  if (replays.every(({ last }) => last === null)) return delivery.events;
  let next = 0;
  return delivery.events.flatMap((event) => {
    if (event.type !== 'dml') return [event];
    const kept = unpublished(event, replays[next++]!, context);
    return kept === null ? [] : [kept];
  });
}

function unpublished(event: DmlEvent, replay: Replay, { logger, events }: Context): ChangeEvent | null {
  if (replay.last === null) return event;
  const { event: kept } = dedupePositionStep({ ...replay.last, version: null }, event);
  replay.dropped += event.rows.rowCount - (kept?.type === 'dml' ? kept.rows.rowCount : 0);
  if (kept === null) return null;
  replay.last = null;
  const { table, dropped: rows } = replay;
  if (rows > 0) {
    logger.info({ table, rows }, 'left out rows that an earlier run had published');
    events.record('published_rows_skipped', () => ({ table, rows }));
  }
  return kept;
}

const QUESTIONS_AT_ONCE = 8;
