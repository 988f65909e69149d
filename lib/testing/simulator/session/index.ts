export * from './event-service.ts';
export * from './session-channel.ts';
export * from './sim-session.ts';
