/** The folder arrows: events <- formats <- (flow, stores, sources, runtime, ...) <- operators <- pipelines <- bin. */
const forbid = (name, from, to, comment) => ({ name, comment, severity: 'error', from: { path: from }, to: { path: to } });
module.exports = {
  forbidden: [
    { name: 'no-circular', severity: 'error', from: {}, to: { circular: true } },
    forbid(
      'events-know-nothing',
      '^lib/events/',
      '^(lib/(?!events/|errors\\.ts)|operators|pipelines|bin)',
      'what flows depends on nothing',
    ),
    forbid('events-without-rxjs', '^lib/(events|formats)/', '^node_modules/(rxjs|ix)', 'the event model and the formats are plain code'),
    forbid(
      'formats-know-events',
      '^lib/formats/',
      '^(lib/(?!events/|formats/|errors\\.ts)|operators|pipelines|bin)',
      'bytes and events only',
    ),
    {
      name: 'formats-without-io',
      severity: 'error',
      from: { path: '^lib/(events|formats)/' },
      to: { dependencyTypes: ['core'], path: '^(fs|net|http|https|child_process|stream|timers)' },
    },
    forbid('lib-knows-no-operators', '^lib/', '^(operators|pipelines|bin)', 'building blocks do not know what is built of them'),
    forbid('operators-know-no-pipelines', '^operators/', '^(pipelines|bin)', 'an operator is usable alone'),
    forbid('nobody-imports-bin', '^(lib|operators|pipelines)/', '^bin', 'the command line is a thin shell'),
    forbid('stores-stand-alone', '^lib/(stores|flow)/', '^lib/(sources|runtime)/', 'a part does not know the runtime'),
    forbid('sources-stand-alone', '^lib/sources/', '^lib/(stores|runtime)/', 'a part does not know the runtime'),
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: { conditionNames: ['import', 'types'] },
  },
};
