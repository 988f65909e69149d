/** What must hold of clean-up, by the names that a failing seed prints and that the tests of broken parts assert. */
export const RULES = {
  kept: 'what has not expired is there: a reader that begins now finds every change of it',
  whole: 'a reader sees each change behind what it was told is missing, once, in order',
  told: 'whatever is removed was written down before, and a reader that needs it is told',
  follower: 'a reader that keeps up misses nothing',
  goesOn: 'in the end nothing that has expired is left, whatever broke off',
  errors: 'nothing fails without a fault',
} as const;

/** One of them. */
export type Rule = keyof typeof RULES;
