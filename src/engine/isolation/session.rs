//! The parent's side of a run.

use std::sync::Arc;

use bytes::Bytes;

use crate::{
    engine::{
        Outage, Session, Terminate,
        isolation::{
            supervisor::{Link, Supervisor},
            tensors,
            wire::{Frame, Places},
        },
    },
    error::{Error, Result},
    model::signature::Signature,
    request::Tensors,
    tensor::tensor::Tensor,
};

/// A session whose model is in a child.
pub(super) struct IsolatedSession {
    supervisor: Supervisor,
    signature: Signature,
    link: Option<Link>,
}

impl IsolatedSession {
    pub(super) fn new(supervisor: Supervisor, signature: Signature) -> Self {
        Self { supervisor, signature, link: None }
    }
}

impl Session for IsolatedSession {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn run(&mut self, inputs: &[Tensor]) -> Result<Tensors> {
        let shared = self.supervisor.shared();
        if let Some(link) = shared.take_link()? {
            self.link = Some(link);
        }
        let link = self.link.as_mut().ok_or_else(|| Error::internal("a child that is up has no link"))?;
        let places = tensors::put(&mut link.segment, inputs, 0)?;
        let inputs_end = tensors::end_of(&places);
        shared.begin_run(&link.process, places)?;
        let answer = link.receiver.receive(|| shared.kill_if_stuck(&link.process));
        shared.end_run();
        let (outputs, end) = match answer {
            Ok(Frame::Ran(places)) => (copy(&places, link), tensors::end_of(&places)),
            Ok(Frame::Failed(failure)) => (Err(failure.into_error()), inputs_end),
            Ok(_) | Err(_) => return Err(shared.crashed(&link.process)),
        };
        link.segment.give_back(end.max(inputs_end));
        outputs
    }

    fn terminator(&self) -> Arc<dyn Terminate> {
        Arc::clone(self.supervisor.shared()) as _
    }

    fn outage(&self) -> Option<Arc<dyn Outage>> {
        Some(Arc::clone(self.supervisor.shared()) as _)
    }
}

/// Copies outputs: the child may write to the shared memory at any time, if it has gone wrong.
fn copy(places: &Places, link: &mut Link) -> Result<Tensors> {
    let segment = &mut link.segment;
    let mut take = |place| tensors::take(place, |offset, length| Ok(segment.read(offset, length)?.map(Bytes::from)));
    places.tensors.iter().map(&mut take).collect()
}
