import { randomUUID } from 'node:crypto';
import { MillraceError } from '../errors.ts';
import type { ObjectVersion } from './object-store.ts';
import { isAbsent, isRefusedCondition, isTransient, isUnsupportedCondition } from './s3-errors.ts';
import { type Payload, type S3Requests, sendObject, WRITER } from './s3-requests.ts';

/** Puts of one store under a condition: `If-Match` with the ETag that is expected, `If-None-Match: *` where nothing is. */
export class S3Replacer {
  readonly #requests: S3Requests;
  /** Whether the store has shown that it honours If-Match. */
  #isProven = false;

  constructor(requests: S3Requests) {
    this.#requests = requests;
  }

  /** @throws MR_STORE_NOT_CONDITIONAL */
  async putIf(key: string, payload: Payload, expected: ObjectVersion | null): Promise<ObjectVersion | null> {
    const requests = this.#requests;
    if (!requests.location.conditionalWrites) return this.#probe(key, payload, expected);
    // A store that gives no ETag: the SDK would leave the empty condition out, and the put would be for anybody.
    if (expected === '') throw notConditional(requests, 'If-Match');
    const token = randomUUID();
    const condition = { ...(expected === null ? { IfNoneMatch: '*' } : { IfMatch: expected }), Metadata: { [WRITER]: token } };
    let isAnswerLost = false;
    const version = await requests.repeat('put', key, async () => {
      try {
        return versionOf(await sendObject(requests, key, payload, condition));
      } catch (error) {
        if (isRefused(error)) {
          const found = isAnswerLost ? await requests.head(key) : null;
          return found?.writer === token ? versionOf(found.etag) : null;
        }
        if (isUnsupportedCondition(error)) throw notConditional(requests, expected === null ? 'If-None-Match' : 'If-Match', error);
        isAnswerLost ||= isTransient(error);
        throw error;
      }
    });
    if (version !== null && !this.#isProven) await this.#prove(key, payload, token);
    return version;
  }

  async #probe(key: string, payload: Payload, expected: ObjectVersion | null): Promise<ObjectVersion | null> {
    const present = await this.#requests.repeat('head', key, () => this.#requests.head(key));
    if ((present?.etag ?? null) !== expected) return null;
    return versionOf(await this.#requests.repeat('put', key, () => sendObject(this.#requests, key, payload, {})));
  }

  /** Puts what is there already, against both conditions: refused by a store that honours them, without effect on one that does not. */
  async #prove(key: string, payload: Payload, token: string): Promise<void> {
    for (const condition of [{ IfMatch: NO_ETAG }, { IfNoneMatch: '*' }]) {
      const isHonoured = await this.#requests.repeat('put', key, async () => {
        try {
          await sendObject(this.#requests, key, payload, { ...condition, Metadata: { [WRITER]: token } });
          return false;
        } catch (error) {
          if (isRefused(error)) return true;
          if (isUnsupportedCondition(error)) return false;
          throw error;
        }
      });
      if (!isHonoured) throw notConditional(this.#requests, 'IfMatch' in condition ? 'If-Match' : 'If-None-Match');
    }
    this.#isProven = true;
  }
}

export function notConditional(requests: S3Requests, condition: string, cause?: unknown): MillraceError {
  return new MillraceError('MR_STORE_NOT_CONDITIONAL', { uri: requests.location.shown, condition }, cause);
}

/** Where nothing stands, If-Match is answered as a request for what is not there. */
function isRefused(error: unknown): boolean {
  return isRefusedCondition(error) || isAbsent(error);
}

function versionOf(etag: string): ObjectVersion {
  return etag as ObjectVersion;
}

/** An ETag that no object has. */
const NO_ETAG = `"${'0'.repeat(32)}"`;
