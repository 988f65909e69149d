import { type ObjectStore, openStore, STORE_PARAMETERS } from '../lib/stores/index.ts';
import { parseTargetIdentity, TARGET_IDENTITY_PATH } from '../pipelines/cloud-storage-sink/root/target-identity.ts';
import { cloudStorage } from '../pipelines/index.ts';

/** Opens what `--to` names, for reading. Options of the sink in it are checked and otherwise left aside. */
export async function openTarget(uri: string): Promise<ObjectStore> {
  cloudStorage({ uri, protocol: 'canal-json' });
  return openStore(storeUriOf(uri), undefined, 'read');
}

/** What the target remembers of the source that wrote there; the defaults of `capture` where it remembers nothing. */
export async function sourceOf(store: ObjectStore): Promise<RememberedSource> {
  const content = await store.get(TARGET_IDENTITY_PATH);
  const identity = content === null ? null : parseTargetIdentity(content.toString()).identity;
  const known = (identity ?? {}) as { readonly [name: string]: unknown };
  const textOf = (name: string) => (typeof known[name] === 'string' ? known[name] : null);
  return {
    slot: textOf('slot') ?? 'millrace',
    publication: textOf('publication') ?? 'millrace',
    systemIdentifier: textOf('systemIdentifier'),
    database: textOf('database'),
  };
}

export interface RememberedSource {
  readonly slot: string;
  readonly publication: string;
  /** Null where the target remembers nothing. */
  readonly systemIdentifier: string | null;
  readonly database: string | null;
}

/** A target's URI with the parameters of its store alone. */
function storeUriOf(uri: string): string {
  const at = uri.indexOf('?');
  if (at < 0) return uri;
  const known = STORE_PARAMETERS[/^[^:/?]*/.exec(uri)![0].toLowerCase()] ?? [];
  const kept = uri
    .slice(at + 1)
    .split('&')
    .filter((part) => known.includes(decodeURIComponent(part.split('=')[0]!)));
  return kept.length === 0 ? uri.slice(0, at) : `${uri.slice(0, at)}?${kept.join('&')}`;
}
