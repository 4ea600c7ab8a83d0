//! The integration tests of the engine and of live play: one binary, one module per topic. tests/README.md says where a new test goes.

use assert_no_alloc::AllocDisabler;

/// Counts allocations in code that must not allocate: audio callbacks and the hop. Elsewhere it only calls the system's allocator.
#[global_allocator]
static ALLOCATOR: AllocDisabler = AllocDisabler;

mod architecture;
mod audio_files;
mod citations;
mod codec_golden;
mod codec_istft;
mod codec_memory;
mod codec_streaming;
mod cuda_codecs;
mod cuda_models;
mod cuda_whole;
mod import_checkpoints;
mod import_hostile;
mod import_separator;
mod io_clock;
mod io_heard;
mod io_jack;
#[cfg(feature = "link")]
mod io_link;
mod io_live;
mod io_midi;
mod listen_golden;
mod live_alloc;
mod live_any;
mod live_ear;
mod live_failover;
mod live_gpu;
mod live_gpu_alloc;
mod live_requests;
mod live_session;
mod live_windows;
mod lm_alloc;
mod lm_golden;
mod lm_run;
mod lm_sampling;
mod model_files;
mod precision;
mod separate_golden;
mod separate_mask;
mod task;
mod text_golden;
