/**
 * Presses those who gather entries, so that what is on disk goes; and not again before all of it has gone that was there the last time. Otherwise each bit of room
 * would be a press, and each press a small file at the target.
 */
export class Pressure {
  readonly #press: () => void;
  #round = 0;
  #onDisk = 0;
  #pressedOut = 0;

  constructor(press: () => void) {
    this.#press = press;
  }

  /** An entry takes room on disk; the result is to be given to `leave`. */
  enter(): number {
    this.#onDisk++;
    return this.#round;
  }

  leave(round: number): void {
    this.#onDisk--;
    if (round < this.#round) this.#pressedOut--;
  }

  /** Somebody waits for room. */
  need(): void {
    if (this.#pressedOut > 0) return;
    this.#round++;
    this.#pressedOut = this.#onDisk;
    this.#press();
  }
}
