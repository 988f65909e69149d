import { MillraceError } from '../errors.ts';

/** Whose requests an S3 store's are, where that is not left to the SDK's own chain. Never printed, logged or stored. */
export interface S3Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
}

/** Credentials as options; each is a query parameter of the URI too (`?access-key=…`). */
export interface S3CredentialOptions {
  /** Given with `secretAccessKey`. Default: what the SDK's chain finds (environment, profile, role). */
  readonly accessKey?: string;
  readonly secretAccessKey?: string;
  /** Of temporary credentials; only beside the two. */
  readonly sessionToken?: string;
}

/** Their query parameters. */
export const CREDENTIAL_PARAMETERS = ['access-key', 'secret-access-key', 'session-token'] as const;

/**
 * The credentials in the URI if it has any, else those of the options: never one half of each. Null: there are none.
 *
 * @throws MR_INVALID_OPTION when one comes without the other, or cannot be sent in a header; it never holds a value.
 */
export function s3CredentialsOf({ searchParams }: URL, options: S3CredentialOptions): S3Credentials | null {
  // A + is a space in a query, and credentials have no spaces: who wrote one meant it.
  const ofUri = CREDENTIAL_PARAMETERS.map((name) => searchParams.get(name)?.replaceAll(' ', '+'));
  const ofOptions = [options.accessKey, options.secretAccessKey, options.sessionToken];
  const given = ofUri.some(isGiven) ? ofUri : ofOptions;
  for (const [index, value] of given.entries()) {
    if (isGiven(value) && !/^[\x21-\x7e]+$/.test(value)) {
      throw refused(CREDENTIAL_PARAMETERS[index]!, '***', 'text of visible ASCII characters, without spaces');
    }
  }
  const [accessKeyId, secretAccessKey, sessionToken] = given;
  if (!isGiven(accessKeyId) && !isGiven(secretAccessKey)) {
    if (isGiven(sessionToken)) throw refused('session-token', '***', 'left out without access-key and secret-access-key');
    return null;
  }
  if (!isGiven(accessKeyId)) throw refused('access-key', 'missing', 'given with secret-access-key');
  if (!isGiven(secretAccessKey)) throw refused('secret-access-key', 'missing', 'given with access-key');
  return { accessKeyId, secretAccessKey, ...(isGiven(sessionToken) && { sessionToken }) };
}

/** Empty text counts as not given. */
function isGiven(value: string | undefined): value is string {
  return value !== undefined && value !== '';
}

function refused(option: string, value: string, bound: string): MillraceError {
  return new MillraceError('MR_INVALID_OPTION', { option, value, bound });
}
