//! Streams, events, capture and graphs.

use std::ffi::{c_int, c_uint};
use std::sync::Arc;

use super::api_context::give;
use super::code::{self, Code};
use super::queue::{Event, Stream};
use super::state::{call, quiet};

#[unsafe(no_mangle)]
unsafe extern "C" fn cuStreamCreate(stream: *mut u64, flags: c_uint) -> Code {
    call(|s| {
        let handle = s.handle();
        s.streams.insert(handle, Stream { non_blocking: flags & 1 == 1, ..Stream::default() });
        // SAFETY: the caller's pointer, as in `give`.
        unsafe { give(stream, handle) }
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuStreamCreateWithPriority(stream: *mut u64, flags: c_uint, _priority: c_int) -> Code {
    // SAFETY: the same contract.
    unsafe { cuStreamCreate(stream, flags) }
}

#[unsafe(no_mangle)]
extern "C" fn cuStreamDestroy_v2(stream: u64) -> Code {
    quiet(|s| {
        s.drain(stream);
        s.streams.remove(&stream).map(|_| ()).ok_or(code::INVALID_HANDLE)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuStreamSynchronize(stream: u64) -> Code {
    call(|s| {
        let lane = s.lane(stream)?;
        s.not_capturing(stream, "cuStreamSynchronize on a capturing stream")?;
        s.drain(lane);
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuStreamQuery(stream: u64) -> Code {
    call(|s| {
        let lane = s.lane(stream)?;
        s.not_capturing(stream, "cuStreamQuery on a capturing stream")?;
        if s.streams.get(&lane).is_none_or(|q| q.queue.is_empty()) {
            return Ok(());
        }
        // Polling ends: the work has run by the next query.
        s.drain(lane);
        Err(code::NOT_READY)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuStreamWaitEvent(stream: u64, event: u64, _flags: c_uint) -> Code {
    call(|s| s.wait(stream, event))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuStreamIsCapturing(stream: u64, status: *mut c_int) -> Code {
    call(|s| {
        let capture = s.streams.get(&stream).and_then(|q| q.capture);
        let v = match capture.and_then(|id| s.captures.get(&id)) {
            None => 0,
            Some(c) if c.invalid => 2,
            Some(_) => 1,
        };
        // SAFETY: the caller's pointer, as in `give`.
        unsafe { give(status, v) }
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuStreamBeginCapture_v2(stream: u64, mode: c_int) -> Code {
    call(|s| s.begin_capture(stream, mode))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuStreamEndCapture(stream: u64, graph: *mut u64) -> Code {
    call(|s| {
        let works = s.end_capture(stream)?;
        let handle = s.handle();
        s.graphs.insert(handle, Arc::new(works));
        // SAFETY: the caller's pointer, as in `give`.
        unsafe { give(graph, handle) }
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuGraphInstantiateWithFlags(exec: *mut u64, graph: u64, flags: u64) -> Code {
    call(|s| {
        // 1 auto-free, 2 upload, 4 device launch, 8 node priority; device launch does not go with the first two.
        if flags & !15 != 0 || flags & 4 != 0 && flags & 3 != 0 {
            return Err(code::INVALID_VALUE);
        }
        let works = s.graphs.get(&graph).ok_or(code::INVALID_HANDLE)?.clone();
        let handle = s.handle();
        s.execs.insert(handle, works);
        // SAFETY: the caller's pointer, as in `give`.
        unsafe { give(exec, handle) }
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuGraphLaunch(exec: u64, stream: u64) -> Code {
    call(|s| {
        let works = s.execs.get(&exec).ok_or(code::INVALID_HANDLE)?.clone();
        s.lane(stream)?;
        for w in works.iter() {
            s.enqueue(stream, w.clone())?;
        }
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuGraphUpload(exec: u64, _stream: u64) -> Code {
    call(|s| s.execs.get(&exec).map(|_| ()).ok_or(code::INVALID_HANDLE))
}

#[unsafe(no_mangle)]
extern "C" fn cuGraphExecDestroy(exec: u64) -> Code {
    quiet(|s| s.execs.remove(&exec).map(|_| ()).ok_or(code::INVALID_HANDLE))
}

#[unsafe(no_mangle)]
extern "C" fn cuGraphDestroy(graph: u64) -> Code {
    quiet(|s| s.graphs.remove(&graph).map(|_| ()).ok_or(code::INVALID_HANDLE))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuGraphGetNodes(graph: u64, nodes: *mut u64, count: *mut usize) -> Code {
    call(|s| {
        let n = s.graphs.get(&graph).ok_or(code::INVALID_HANDLE)?.len();
        if !nodes.is_null() {
            return Err(code::NOT_SUPPORTED);
        }
        // SAFETY: the caller's pointer, as in `give`.
        unsafe { give(count, n) }
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuEventCreate(event: *mut u64, flags: c_uint) -> Code {
    call(|s| {
        let handle = s.handle();
        s.events.insert(handle, Event { untimed: flags & 2 != 0, ..Event::default() });
        // SAFETY: the caller's pointer, as in `give`.
        unsafe { give(event, handle) }
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuEventDestroy_v2(event: u64) -> Code {
    quiet(|s| {
        let ticket = s.events.get(&event).ok_or(code::INVALID_HANDLE)?.ticket;
        s.reach(event, ticket);
        s.events.remove(&event);
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuEventRecord(event: u64, stream: u64) -> Code {
    call(|s| s.record(event, stream))
}

#[unsafe(no_mangle)]
extern "C" fn cuEventQuery(event: u64) -> Code {
    call(|s| {
        let e = s.events.get_mut(&event).ok_or(code::INVALID_HANDLE)?;
        if e.captured.is_some() {
            return Err(code::CAPTURED_EVENT);
        }
        if e.done >= e.ticket {
            return Ok(());
        }
        let ticket = e.ticket;
        if !std::mem::replace(&mut e.asked, true) {
            return Err(code::NOT_READY);
        }
        s.reach(event, ticket);
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuEventSynchronize(event: u64) -> Code {
    call(|s| {
        let e = s.events.get(&event).ok_or(code::INVALID_HANDLE)?;
        if e.captured.is_some() {
            return Err(code::CAPTURED_EVENT);
        }
        let ticket = e.ticket;
        s.reach(event, ticket);
        Ok(())
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuEventElapsedTime(ms: *mut f32, start: u64, end: u64) -> Code {
    call(|s| {
        let get = |h: u64| s.events.get(&h).ok_or(code::INVALID_HANDLE);
        let (a, b) = (get(start)?, get(end)?);
        if a.untimed || b.untimed || a.ticket == 0 || b.ticket == 0 {
            return Err(code::INVALID_HANDLE);
        }
        if a.done < a.ticket || b.done < b.ticket {
            return Err(code::NOT_READY);
        }
        let (Some(a), Some(b)) = (a.at, b.at) else { return Err(code::NOT_READY) };
        let v = if b >= a { (b - a).as_secs_f32() } else { -(a - b).as_secs_f32() };
        // SAFETY: the caller's pointer, as in `give`.
        unsafe { give(ms, v * 1e3) }
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuEventElapsedTime_v2(ms: *mut f32, start: u64, end: u64) -> Code {
    // SAFETY: the same contract.
    unsafe { cuEventElapsedTime(ms, start, end) }
}
