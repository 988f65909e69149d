/** The suffix of a spec says what it runs against; CONTRIBUTING.md lists them. */
export default {
  testEnvironment: 'node',
  roots: ['<rootDir>/spec', '<rootDir>/examples'],
  globalSetup: '<rootDir>/spec/support/compile-cli.mjs',
  testMatch: ['**/*.spec.ts'],
  extensionsToTreatAsEsm: ['.ts'],
  transform: { '^.+\\.ts$': ['@swc/jest', { jsc: { parser: { syntax: 'typescript' }, target: 'es2022' }, module: { type: 'es6' } }] },
  // Ample: what takes a second alone can take twenty where every core is busy.
  testTimeout: 120_000,
  maxWorkers: 2,
};
