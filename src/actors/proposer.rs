//! What the proposer's actor does besides its role: it hands leadership over when a person asks, or when its node stops.

use actix::prelude::*;

use super::role::RoleActor;
use crate::paxos::extension::NotHandedOver;
use crate::paxos::{NodeId, Proposer};

/// Have this member take over.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<(), NotHandedOver>")]
pub struct HandOver(pub NodeId);

impl Handler<HandOver> for RoleActor<Proposer> {
    type Result = Result<(), NotHandedOver>;

    fn handle(&mut self, HandOver(to): HandOver, ctx: &mut Self::Context) -> Self::Result {
        let mut outcome = Err(NotHandedOver::NotLeading);
        self.step(ctx, |proposer, fx| outcome = proposer.hand_over(to, fx));
        outcome
    }
}

/// Have whoever is there and furthest take over.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<(), NotHandedOver>")]
pub struct HandOverToAny;

impl Handler<HandOverToAny> for RoleActor<Proposer> {
    type Result = Result<(), NotHandedOver>;

    fn handle(&mut self, HandOverToAny: HandOverToAny, ctx: &mut Self::Context) -> Self::Result {
        let mut outcome = Err(NotHandedOver::NotLeading);
        self.step(ctx, |proposer, fx| outcome = proposer.hand_over_to_any(fx));
        outcome
    }
}
