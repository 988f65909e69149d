/** Colours of the tables, in the order in which a diagram names them: Okabe and Ito's, which colour-blind readers tell apart, as line and tint. */
const TABLES = [
  { light: { line: '#0072b2', tint: '#dcecf9' }, dark: { line: '#56b4e9', tint: '#0e3350' } },
  { light: { line: '#b87400', tint: '#fdeecf' }, dark: { line: '#e69f00', tint: '#3f2d06' } },
  { light: { line: '#00795a', tint: '#d6f1e7' }, dark: { line: '#2fbf94', tint: '#073b2d' } },
  { light: { line: '#b0558c', tint: '#f8e4f0' }, dark: { line: '#dd8fc0', tint: '#45213a' } },
  { light: { line: '#c24e00', tint: '#fce3d5' }, dark: { line: '#f08a4b', tint: '#4b230b' } },
];

export const TABLE_COLOURS = TABLES.length;

const THEMES = {
  light: {
    paper: '#ffffff',
    edge: '#d0d7de',
    ink: '#1f2328',
    muted: '#59636e',
    line: '#57606a',
    box: '#f6f8fa',
    value: '#eef1f4',
    error: '#cf222e',
  },
  dark: {
    paper: '#0d1117',
    edge: '#30363d',
    ink: '#e6edf3',
    muted: '#9198a1',
    line: '#8b949e',
    box: '#161b22',
    value: '#21262d',
    error: '#ff7b72',
  },
};

export const MONO = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', 'Liberation Mono', monospace";

/** The style sheet inside each picture: shapes have classes, classes have their colours per theme. */
export function styleSheet(): string {
  const geometry = [
    `text{font-family:${MONO};font-size:12px;text-anchor:middle}`,
    '.small{font-size:10.5px}.left{text-anchor:start}.right{text-anchor:end}.name{font-size:15px}.strong{font-weight:700}',
    '.time{stroke-width:1.5;fill:none}.thin{stroke-width:1;fill:none}.guide{stroke-width:1;stroke-dasharray:2 4;fill:none}',
    '.shape{stroke-width:1.5}.dashed{stroke-dasharray:4 3}.bar{stroke-width:3;stroke-linecap:round}.cross{stroke-width:2.5;stroke-linecap:round;fill:none}',
  ];
  return [...geometry, theme('light'), `@media (prefers-color-scheme:dark){${theme('dark')}}`].join('\n');
}

function theme(mode: 'light' | 'dark'): string {
  const { paper, edge, ink, muted, line, box, value, error } = THEMES[mode];
  const tables = TABLES.map(({ [mode]: colour }, index) => {
    return `.c${index}{stroke:${colour.line};fill:${colour.tint}}.c${index}.open{fill:${paper}}.c${index}.full{fill:${colour.line}}`;
  });
  return [
    `.paper{fill:${paper};stroke:${edge}}`,
    `text{fill:${ink}}.muted{fill:${muted}}`,
    `.time,.bar{stroke:${line}}.thin{stroke:${line}}.guide{stroke:${edge}}.head{fill:${line};stroke:none}`,
    `.box{fill:${box};stroke:${line}}`,
    `.plain{fill:${value};stroke:${line}}.plain.open{fill:${paper}}.plain.full{fill:${line}}`,
    `.frame{fill:${paper};stroke:${line}}.gap{fill:${paper};stroke:none}`,
    `.cross{stroke:${error}}`,
    ...tables,
  ].join('');
}
