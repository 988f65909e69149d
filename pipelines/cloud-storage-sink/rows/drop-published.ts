import { Observable } from 'rxjs';
import { type ChangeEvent, type Delivery, type DmlEvent, type Position, type Table, tableName } from '../../../lib/events/index.ts';
import { type Context, link, operator, Ring, type Stage } from '../../../lib/flow/index.ts';
import { dedupePositionStep } from '../../../operators/dedupe-commit-ts.ts';
import { FlushQueue } from '../files/flush-queue.ts';
import { IdleSweep } from '../files/idle-sweep.ts';
import type { Target } from '../target.ts';
import { type Published, publishedPosition } from './published-position.ts';

/**
 * Drops rows that an earlier run has published, so that the files hold each row once.
 *
 * In plain words: what a crash left between the files and the checkpoint comes again, and is there already.
 *
 * The first rows of a table version wait until the target was asked for the last position that is published of their dispatcher; everything up to there drops, and
 * a block that straddles it is sliced. From the first row behind it on nothing is compared any more. Deliveries keep their order; what they hold counts as durable when
 * it arrives nowhere. What is known of a version that had no rows in a day, and of which everything is durable, is forgotten, and asked for again: the answer then lies before
 * whatever comes. It stands before whatever registers deliveries, and only where the source numbers its changes (`OpenSource.hasOrdinals`).
 *
 * @param track hears of the queue of questions, so that whoever closes the store can wait for it.
 */
export function dropPublished(target: Target, track: (queue: FlushQueue) => void): Stage {
  return operator('dropPublished', {}, (context) => (source) => {
    return new Observable((subscriber) => {
      /** By dispatcher and version. */
      const replays = new Map<string, Replay>();
      const sweep = new IdleSweep(
        (key) => {
          for (const indexPath of replays.get(key)!.seen) target.seen.delete(indexPath);
          replays.delete(key);
        },
        // Rows that are not durable may yet meet what came in between, in a folder that was looked into.
        (key) => context.progress.checkpointTs < replays.get(key)!.lastTs,
      );
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
      const ask = (table: Table): Replay => {
        const replay: Replay = {
          table: tableName(table),
          isAsked: false,
          last: null,
          seen: [],
          lastTs: 0n,
          touchedMs: -Infinity,
          dropped: 0,
        };
        questions.push(table.dispatcher, async () => {
          Object.assign(replay, await publishedPosition(target, table), { isAsked: true });
          run();
        });
        return replay;
      };
      const replayOf = ({ rows: { table, last } }: DmlEvent, nowMs: number): Replay => {
        const key = `${table.dispatcher}/${table.version}`;
        let replay = replays.get(key);
        if (replay === undefined) {
          replay = ask(table);
          replays.set(key, replay);
        }
        replay.lastTs = last.commitTs;
        if (nowMs - replay.touchedMs >= TOUCH_INTERVAL_MS) {
          replay.touchedMs = nowMs;
          sweep.touch(key, nowMs);
        }
        return replay;
      };
      subscriber.add(() => questions.stop());
      link(source, subscriber, {
        next: (delivery) => {
          const nowMs = context.clock.now();
          const rows = delivery.events.filter((event) => event.type === 'dml');
          waiting.push({ delivery, replays: rows.map((event) => replayOf(event, nowMs)) });
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
interface Replay extends Mutable<Published> {
  readonly table: string;
  /** Whether the target has said how far it is published. */
  isAsked: boolean;
  /** Everything up to here is published; null when nothing is, or when it was passed. */
  last: Position | null;
  /** Of the last rows that came. */
  lastTs: bigint;
  touchedMs: number;
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

type Mutable<T> = { -readonly [member in keyof T]: T[member] };

/** Tables whose target is asked at once: a start with thousands of them waits for their questions. */
const QUESTIONS_AT_ONCE = 32;
/** So often is it noted that a table is in use. */
const TOUCH_INTERVAL_MS = 60_000;
