import { describe, expect, it } from '@jest/globals';
import { MillraceError } from '../../../../lib/errors.ts';
import { type ByteWriter, type DispatcherId, dispatcherId } from '../../../../lib/events/index.ts';
import { createContext } from '../../../../lib/flow/index.ts';
import { crc32Of } from '../../../../lib/formats/checksum.ts';
import { DEFAULT_PATH_OPTIONS } from '../../../../lib/formats/storage-layout/index.ts';
import type { ObjectBody, ObjectStore } from '../../../../lib/stores/index.ts';
import { DataDirectory, type DirectoryTarget, type FileContent } from '../../../../pipelines/storage-writer/data-directory.ts';
import { GateStore } from '../../../support/gate-store.ts';
import { settle } from '../../../support/sink-world.ts';

const OWNER: DispatcherId = dispatcherId(1n, 2n);
const FOLDER = 'public/users/7';
const INDEX = `${FOLDER}/meta/CDC.index`;

/** Of a chosen file the answer waits, not the write. */
class LateAnswers extends GateStore {
  readonly #late: RegExp;
  answer = () => {};

  constructor(late: RegExp) {
    super();
    this.#late = late;
  }

  override async putIfAbsent(key: string, body: ObjectBody): Promise<boolean> {
    const isMine = await super.putIfAbsent(key, body);
    if (this.#late.test(key)) await new Promise<void>((resolve) => (this.answer = resolve));
    return isMine;
  }
}

function targetOf(store: ObjectStore, check = async () => {}): DirectoryTarget {
  const encoder = { extension: '.json' };
  return { store, paths: DEFAULT_PATH_OPTIONS, encoder, epoch: { check }, seen: new Map(), context: createContext() };
}

function contentOf(text: string): FileContent {
  const body = Buffer.from(text);
  const runs = [{ writeJson: (out: ByteWriter) => out.writeText(`["${body.readUInt8(0)}",0,0]`) }];
  return { rows: 1, runs, body: [body], bytes: body.length, crc32: crc32Of(body) };
}

async function indexed(store: ObjectStore): Promise<number> {
  return Number(/CDC0*(\d+)/.exec(String(await store.get(INDEX)))?.[1] ?? 0);
}

/** Begins two files, the second when the first is there; the index of the first waits. */
async function twoFiles(store: GateStore, target: DirectoryTarget) {
  const directory = await DataDirectory.open(target, FOLDER, OWNER);
  store.hold(/CDC\.index$/);
  let second: Promise<void> = Promise.resolve();
  const first = directory.write(contentOf('a'), OWNER, () => {
    second = directory.write(contentOf('b'), OWNER);
    second.catch(() => {});
  });
  first.catch(() => {});
  while (store.waiting === 0) await settle();
  for (let turn = 0; turn < 10; turn++) await settle();
  return { first, second, directory, go: store.takeWaiting() };
}

describe('files of one directory that overlap', () => {
  it('I8: an index names no file that is not there, when somebody who looked has published the second one before its writer heard that it is written', async () => {
    const store = new LateAnswers(/CDC0*2\.json$/);
    const { first, second, directory, go } = await twoFiles(store, targetOf(store));
    await DataDirectory.look(targetOf(store), FOLDER, OWNER);
    expect(await indexed(store)).toBe(2);
    for (const one of go) one();
    await first;
    store.answer();
    await second;
    expect([await indexed(store), directory.newest, directory.nextFile]).toEqual([2, 2, directory.fileAt(3)]);
    await directory.write(contentOf('c'), OWNER);
    expect(await indexed(store)).toBe(3);
    expect(await store.exists(directory.fileAt(3))).toBe(true);
  });

  it('I9: one that asked for its epoch before another run wrote here gets no number behind the files of that', async () => {
    const store = new GateStore();
    let isOver = false;
    let answer = () => {};
    let asked = 0;
    const check = async () => {
      if (++asked === 2) await new Promise<void>((resolve) => (answer = resolve));
      else if (isOver) throw new MillraceError('MR_STALE_EPOCH', { uri: store.uri, mine: 1, epoch: 2 });
    };
    const { first, second, go } = await twoFiles(store, targetOf(store, check));
    isOver = true;
    const next = await DataDirectory.open(targetOf(store), FOLDER, OWNER);
    for (const text of ['x', 'y', 'z']) await next.write(contentOf(text), OWNER);
    for (const one of go) one();
    await first;
    answer();
    await expect(second).rejects.toMatchObject({ code: 'MR_STALE_EPOCH' });
    expect([await indexed(store), await store.exists(next.fileAt(5))]).toEqual([4, false]);
  });
});
