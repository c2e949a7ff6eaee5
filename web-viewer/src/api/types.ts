/** Short names for what the server sends. */
import type { components } from './schema';

type Schemas = components['schemas'];
export type Alert = Schemas['Alert'];
export type Counter = Schemas['Counter'];
export type Dossier = Schemas['Dossier'];
export type Export = Schemas['Export'];
export type ExportRequest = Schemas['ExportRequest'];
export type Fetch = Schemas['Fetch'];
export type Gap = Schemas['Gap'];
export type GapCause = Schemas['GapCause'];
export type Hold = Schemas['Hold'];
export type Health = Schemas['Health'];
export type HealthDay = Schemas['HealthDay'];
export type HealthFault = Schemas['HealthFault'];
export type Interaction = Schemas['Interaction'];
export type InteractionDetail = Schemas['InteractionDetail'];
export type InteractionPage = Schemas['InteractionPage'];
export type LiveState = Schemas['LiveState'];
export type Me = Schemas['Me'];
export type Recorder = Schemas['Recorder'];
export type Stream = Schemas['Stream'];
export type Timeline = Schemas['Timeline'];
export type TimelineEvent = Schemas['TimelineEvent'];
export type Understood = Schemas['Understood'];
export type Unit = Schemas['Unit'];
