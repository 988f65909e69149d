/**
 * Presses those who gather entries, so that what the spool holds goes; and not again before all of it has gone that was there the last time. Otherwise each bit of
 * room would be a press, and each press a small file at the target.
 */
export class Pressure {
  readonly #press: () => void;
  #round = 0;
  #held = 0;
  #pressedOut = 0;

  constructor(press: () => void) {
    this.#press = press;
  }

  /** An entry is accepted; the result is to be given to `leave`. */
  enter(): number {
    this.#held++;
    return this.#round;
  }

  leave(round: number): void {
    this.#held--;
    if (round < this.#round) this.#pressedOut--;
  }

  /** The source is held, or an entry waits for room. */
  need(): void {
    if (this.#pressedOut > 0) return;
    this.#round++;
    this.#pressedOut = this.#held;
    this.#press();
  }
}
