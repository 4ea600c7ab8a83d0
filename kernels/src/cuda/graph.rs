//! CUDA graphs: work that makes the same launches each time is recorded once and then replayed with one call.

use super::CudaBackend;
use super::mem::Block;
use cudarc::driver::sys::{CUgraphExec, CUgraphInstantiate_flags, CUstreamCaptureMode};
use cudarc::driver::{CudaContext, result};
use std::sync::Arc;

/// Graphs that are kept at most; work under further keys is launched kernel by kernel.
const MOST: usize = 4;

/// Recorded work, by key ([`crate::Backend::run_recorded`]).
#[derive(Default)]
pub struct Graphs {
    kept: Vec<(Vec<usize>, State)>,
}

/// What is known of the work under one key.
enum State {
    /// It has not run yet. Its first run lets scratch memory grow.
    New,
    /// It has run once. The next run is recorded.
    Ready,
    Recorded(Recording),
    /// The driver could not record it; it is launched each time.
    Refused,
}

struct Recording {
    graph: CUgraphExec,
    context: Arc<CudaContext>,
    /// The memory that the graph uses.
    _keeps: Vec<Arc<Block>>,
}

// SAFETY: the driver lets a graph be launched from any thread that has the context current, one at a time, and a Recording
// has one owner.
unsafe impl Send for Recording {}

impl Drop for Recording {
    fn drop(&mut self) {
        let _ = self.context.bind_to_thread();
        // SAFETY: made by `record`, destroyed once; the driver keeps a running graph until it has run.
        let _ = unsafe { result::graph::exec_destroy(self.graph) };
    }
}

impl Graphs {
    /// The state of a key; `None` where there is no room for another one.
    fn state(&mut self, key: &[usize]) -> Option<&mut State> {
        let found = self.kept.iter().position(|(k, _)| k == key);
        if found.is_none() && self.kept.len() < MOST {
            self.kept.push((key.to_vec(), State::New));
        }
        let at = found.or_else(|| self.kept.iter().position(|(k, _)| k == key))?;
        Some(&mut self.kept[at].1)
    }
}

/// [`crate::Backend::run_recorded`].
pub(super) fn run_recorded(cuda: &mut CudaBackend, graphs: &mut Graphs, key: &[usize], work: &mut dyn FnMut(&mut CudaBackend)) {
    if !cuda.device.bind() {
        return;
    }
    let Some(state) = graphs.state(key) else {
        return work(cuda);
    };
    match state {
        State::New => {
            work(cuda);
            *state = State::Ready;
            return;
        }
        State::Ready => *state = record(cuda, work).map_or(State::Refused, State::Recorded),
        State::Recorded(_) | State::Refused => {}
    }
    match state {
        State::Recorded(recording) => {
            // SAFETY: the graph is instantiated, and the recording that owns it keeps its memory alive.
            let launched = unsafe { result::graph::launch(recording.graph, cuda.device.stream) };
            cuda.device.check("replaying a graph", launched);
        }
        _ => work(cuda),
    }
}

/// Records what `work` launches; `None` where the driver can't.
fn record(cuda: &mut CudaBackend, work: &mut dyn FnMut(&mut CudaBackend)) -> Option<Recording> {
    let mode = CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
    // SAFETY: the stream is ours and not capturing.
    unsafe { result::stream::begin_capture(cuda.device.stream, mode) }.ok()?;
    cuda.device.recorded = Some(Vec::new());
    work(cuda);
    let keeps = cuda.device.recorded.take().unwrap_or_default();
    // An error in here is one of recording. The work is launched instead, and fails again if the device is at fault.
    cuda.device.failure = None;
    // SAFETY: ends the capture that was begun above, also after an error.
    let graph = unsafe { result::stream::end_capture(cuda.device.stream) }.ok()?;
    // SAFETY: the graph is valid, and not used after it has been instantiated.
    let instance = unsafe {
        let instance = result::graph::instantiate(graph, CUgraphInstantiate_flags(0));
        let _ = result::graph::destroy(graph);
        instance
    };
    Some(Recording { graph: instance.ok()?, context: cuda.device.context.clone(), _keeps: keeps })
}
