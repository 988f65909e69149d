import { MillraceError, reasonOf } from '../errors.ts';
import type { PlacementName, S3Placement } from './s3-location.ts';
import { systemCode } from './system-code.ts';

/** `begin`, `put part`, `complete` and `abort` are of a multipart upload. */
export type S3Operation = 'put' | 'get' | 'head' | 'list' | 'delete' | 'begin' | 'put part' | 'complete' | 'abort';

/** A multipart upload that has to be begun again. */
export class BeginAgain extends Error {
  constructor(cause: unknown) {
    super('the upload has to be begun again', { cause });
  }
}

/** Whether an error of the SDK may pass by itself: the request is then sent again. */
export function isTransient(error: unknown): boolean {
  const status = statusOf(error);
  if (status === 501) return false;
  if (status !== null && (status >= 500 || PASSING_STATUS.has(status))) return true;
  if (PASSING_NAMES.has(nameOf(error)) || PASSING_CODES.has(systemCode(error))) return true;
  // A request that was signed anew with the server's time succeeds.
  return hasFlag(error, '$retryable') || hasFlag(hint(error, '$metadata'), 'clockSkewCorrected');
}

/** Whether the object asked for is not there; a missing bucket is another matter. */
export function isAbsent(error: unknown): boolean {
  return statusOf(error) === 404 && nameOf(error) !== 'NoSuchBucket';
}

/** Whether If-None-Match found an object. The name counts in an answer that began with 200. */
export function isRefusedCondition(error: unknown): boolean {
  return statusOf(error) === 412 || nameOf(error) === 'PreconditionFailed';
}

/** Whether a multipart upload is not there: it was completed or aborted. */
export function isGoneUpload(error: unknown): boolean {
  return nameOf(error) === 'NoSuchUpload';
}

/** Whether another write to the same key came in between. */
export function isConflict(error: unknown): boolean {
  return statusOf(error) === 409 || nameOf(error) === 'ConditionalRequestConflict';
}

/** Whether the store knows no If-None-Match, and says so. */
export function isUnsupportedCondition(error: unknown): boolean {
  return statusOf(error) === 501 || nameOf(error) === 'NotImplemented';
}

/**
 * The SDK forgets what an error said that is no instance of its own `Error`: under a test runner with realms, jest for one, all of Node's network errors.
 */
export function asOwnError(error: unknown): unknown {
  if (error instanceof Error || typeof error !== 'object' || error === null) return error;
  return Object.assign(new Error(reasonOf(error), { cause: error }), { name: nameOf(error), code: systemCode(error) });
}

export interface S3Attempt {
  readonly operation: S3Operation;
  readonly key: string;
  readonly attempts: number;
  /** Without secrets. */
  readonly uri: string;
  readonly bucket: string;
  readonly placement: S3Placement;
}

/** What an error of the SDK means for a user. */
export function s3Failure(error: unknown, { operation, key, attempts, uri, bucket, placement }: S3Attempt): MillraceError {
  const status = statusOf(error);
  const name = nameOf(error);
  const reason = reasonFor(error);
  if (name === 'NoSuchBucket') return new MillraceError('MR_STORE_NO_BUCKET', { bucket, uri }, error);
  const request = { operation, key: key === '' ? 'the prefix' : key, uri, status: status ?? 'none', reason };
  const option = refusedOption(name, reason, placement);
  if (option !== null) return new MillraceError('MR_STORE_OPTION_REFUSED', { uri, option, value: placement[option] ?? '', reason }, error);
  if (isTransient(error)) return new MillraceError('MR_STORE_UNAVAILABLE', { ...request, attempts }, error);
  if (status === 401 || status === 403 || DENIED_NAMES.has(name)) return new MillraceError('MR_STORE_DENIED', request, error);
  // A list cannot miss an object, so it misses the bucket, where a store does not call it by name.
  if (operation === 'list' && status === 404) return new MillraceError('MR_STORE_NO_BUCKET', { bucket, uri }, error);
  if (/^Region (is missing|not accepted)/.test(reason)) {
    return new MillraceError('MR_INVALID_URI', { uri, reason: "the bucket's region is not given, or is no name of one" }, error);
  }
  return new MillraceError('MR_STORE_FAILED', request, error);
}

/** The option, among those given, that an error is about. */
function refusedOption(name: string, reason: string, placement: S3Placement): PlacementName | null {
  if (PASSING_NAMES.has(name)) return null;
  const suspects: readonly [PlacementName, RegExp][] = [
    ['sse-kms-key-id', /^KMS\.|\bkms:/],
    ['sse', /^KMS\.|\bkms:|Encryption/i],
    ['storage-class', /storage-?class/i],
    ['acl', /\bACLs?\b|AccessControlList/],
  ];
  const found = suspects.find(
    ([option, words]) => placement[option] !== undefined && words.test(name === '' ? reason : `${name}: ${reason}`),
  );
  return found?.[0] ?? null;
}

/** An answer to a HEAD has no more than its status. 409: a conflict with another request at the same instant. */
const PASSING_STATUS: ReadonlySet<number> = new Set([408, 409, 429]);

const PASSING_NAMES: ReadonlySet<string> = new Set([
  'TimeoutError',
  'RequestTimeout',
  'RequestTimeTooSkewed',
  'SlowDown',
  'Throttling',
  'ThrottlingException',
  'KMS.ThrottlingException',
  'TooManyRequestsException',
  'InternalError',
  'ServiceUnavailable',
  // Content-MD5 did not match: the body was damaged on its way.
  'BadDigest',
]);

const PASSING_CODES: ReadonlySet<string> = new Set([
  'ECONNRESET',
  'ECONNREFUSED',
  'ECONNABORTED',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EPIPE',
  'ETIMEDOUT',
  'ERR_STREAM_PREMATURE_CLOSE',
]);

const DENIED_NAMES: ReadonlySet<string> = new Set([
  'CredentialsProviderError',
  'ExpiredToken',
  'InvalidToken',
  'InvalidAccessKeyId',
  'SignatureDoesNotMatch',
]);

function nameOf(error: unknown): string {
  const name = hint(error, 'name');
  return typeof name === 'string' ? name : '';
}

function statusOf(error: unknown): number | null {
  const status = hint(hint(error, '$metadata'), 'httpStatusCode');
  return typeof status === 'number' ? status : null;
}

function reasonFor(error: unknown): string {
  const reason = reasonOf(error);
  const name = nameOf(error);
  // An answer without a body leaves the SDK without words.
  const text = reason === '' || reason === 'UnknownError' ? 'the store gave no reason' : reason;
  return name === '' || name === 'Error' || name === text ? text : `${name}: ${text}`;
}

function hint(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>)[name] : undefined;
}

function hasFlag(value: unknown, name: string): boolean {
  const found = hint(value, name);
  return found !== undefined && found !== false && found !== null;
}
