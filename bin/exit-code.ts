/** Everything asked for was done; it failed or differs; it was asked wrongly. */
export type ExitCode = 0 | 1 | 2;
