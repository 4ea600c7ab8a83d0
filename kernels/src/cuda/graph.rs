//! A step as one graph: what the same work launches each time, recorded once and replayed with one call.

use super::CudaBackend;
use super::mem::Block;
use cudarc::driver::sys::{CUgraphExec, CUgraphInstantiate_flags, CUstreamCaptureMode};
use cudarc::driver::{CudaContext, result};
use std::sync::Arc;

/// Work that is recorded at its second run (the first lets scratch grow) and replayed from then on.
#[derive(Default)]
pub struct Graph {
    state: State,
}

#[derive(Default)]
enum State {
    #[default]
    Never,
    Once,
    Made(Made),
    /// The driver can't record: run it each time.
    Plain,
}

struct Made {
    graph: CUgraphExec,
    context: Arc<CudaContext>,
    /// The memory that the graph uses.
    _keeps: Vec<Arc<Block>>,
}

// SAFETY: the driver lets a graph be launched from any thread that has the context current, one at a time, and Made has one owner.
unsafe impl Send for Made {}

impl Drop for Made {
    fn drop(&mut self) {
        let _ = self.context.bind_to_thread();
        // SAFETY: made by `record`, destroyed once; the driver keeps a running graph until it has run.
        let _ = unsafe { result::graph::exec_destroy(self.graph) };
    }
}

/// [`crate::Backend::replay`].
pub(super) fn replay(cuda: &mut CudaBackend, graph: &mut Graph, work: &mut dyn FnMut(&mut CudaBackend)) {
    if !cuda.device.bind() {
        return;
    }
    match &graph.state {
        State::Never => {
            work(cuda);
            graph.state = State::Once;
        }
        State::Plain => work(cuda),
        State::Once => {
            graph.state = record(cuda, work).map_or(State::Plain, State::Made);
            replay(cuda, graph, work);
        }
        State::Made(made) => {
            // SAFETY: the graph is instantiated, and its memory is kept alive beside it.
            let launched = unsafe { result::graph::launch(made.graph, cuda.device.stream) };
            cuda.device.check("replaying a step", launched);
        }
    }
}

/// Records what `work` launches; none where the driver refuses.
fn record(cuda: &mut CudaBackend, work: &mut dyn FnMut(&mut CudaBackend)) -> Option<Made> {
    let mode = CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
    // SAFETY: the stream is ours and not capturing.
    unsafe { result::stream::begin_capture(cuda.device.stream, mode) }.ok()?;
    cuda.device.recorded = Some(Vec::new());
    work(cuda);
    let keeps = cuda.device.recorded.take().unwrap_or_default();
    // An error while recording is the recording's: the work is run plainly instead, and shows there if it is the device's.
    cuda.device.fault = None;
    // SAFETY: the capture begun above; it is ended whatever happened.
    let graph = unsafe { result::stream::end_capture(cuda.device.stream) }.ok()?;
    // SAFETY: the graph is valid, and not used after it has been instantiated.
    let instance = unsafe {
        let instance = result::graph::instantiate(graph, CUgraphInstantiate_flags(0));
        let _ = result::graph::destroy(graph);
        instance
    };
    Some(Made { graph: instance.ok()?, context: cuda.device.context.clone(), _keeps: keeps })
}
