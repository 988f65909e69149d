/** What must hold of a capture, by the names that a failing seed prints and that the tests of mutants assert. */
export const RULES = {
  durable: 'I1: progress never passes what is not durable',
  boundary: 'I2: progress rests on transaction boundaries',
  group: 'I3: changes of one position are acked together',
  fifo: 'I4: a held-back ack holds back every later one',
  snapshot: 'I5: a snapshot is complete when the checkpoint says so',
  readable: 'I6: what is persisted can be read again',
  filtered: 'I7: filtered and empty transactions advance progress',
  published: 'I8: what is published is whole and stays',
  epoch: 'I9: a stale epoch neither emits nor commits',
  keepalive: 'I10: keepalives go on, and say no more than the checkpoint',
  monotone: 'a checkpoint never goes back',
  order: 'changes of a table arrive in position order, each once',
  drain: 'the files of a table are complete before its next version begins',
  once: 'the files hold each row once',
  reader: 'a reader sees each change once, in order, and nothing else',
  rows: 'the rows rebuilt from the files are those of the database',
  spool: 'a spool begins empty, keeps to its quota and leaves nothing behind',
  liveness: 'everything committed comes',
  errors: 'nothing fails without a fault',
} as const;

/** One of them. */
export type Rule = keyof typeof RULES;
