/** Words for what an export can fail of. */
import { m } from '../paraglide/messages';

const words: Record<string, () => string> = {
  not_sealed: m.export_not_sealed,
  never_sealed: m.export_never_sealed,
  not_arrived: m.export_not_arrived,
  damaged: m.export_damaged,
  no_recording: m.problem_no_recording_hint,
  too_many_exports: m.export_too_many,
  export_quota: m.export_quota,
  forbidden: m.problem_forbidden_hint,
  bad_parameter: m.problem_bad_parameter_hint,
  unreachable: m.problem_unreachable_hint,
};

/** What went wrong and what to do now. */
export const exportFailure = (code: string) => (words[code] ?? m.problem_server_error_hint)();
