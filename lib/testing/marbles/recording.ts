/** What happened in a test that passed, for whoever draws it: sources first, then what was expected of them, each in the order of the test. */
export interface Recording {
  readonly streams: readonly RecordedStream[];
  /** Milliseconds from the first thing that happened to behind the last. */
  readonly frames: number;
}

export interface RecordedStream {
  readonly role: 'source' | 'output' | 'acks' | 'resets' | 'subscription';
  /** The `label` that was given; without one `source` (`source 2`, …), `output`, `acks`, `resets` or `subscription`. */
  readonly label: string;
  readonly marks: readonly Mark[];
}

/** `text` is the notation of what was emitted; of what has none, what `show` says of it, or a plain value itself, or the letter that stood for it. */
export type Mark =
  | { readonly frame: number; readonly kind: 'next'; readonly text: string }
  | { readonly frame: number; readonly kind: 'complete' | 'error' | 'subscribe' | 'unsubscribe' };
