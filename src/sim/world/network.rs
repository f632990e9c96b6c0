//! Packets between nodes, and handshakes.

use std::collections::BTreeMap;

use super::{Happening, Packet, World};
use crate::net::identity::NodeHello;
use crate::net::refusal::RefusedBecause;
use crate::paxos::{AcceptorMessage, Message, NodeId, ProposerMessage};
use crate::sim::check::{Broken, Checks, Held};
use crate::sim::faults::FaultKind;
use crate::sim::node::{Node, State};
use crate::sim::plan::Network;
use crate::sim::report::Counts;
use crate::sim::trace::Lanes;

impl World {
    pub(super) fn send(&mut self, node: usize, messages: Vec<(NodeId, Message)>) -> Held {
        let own = self.nodes[node].id;
        let Some(running) = self.nodes[node].running() else { return Ok(()) };
        let (durable, life) = (running.durable, self.nodes[node].life);
        let mut packets: BTreeMap<usize, Vec<Message>> = BTreeMap::new();
        for (to, message) in messages {
            if !message.may_travel() {
                return Err(Broken::new("messages", format!("{own} sends {to} what is not for peers: {message:?}")));
            }
            if let Message::Acceptor(message) = &message {
                self.proposes(node, message)?;
            }
            if to.0 == 0 || to.0 as usize > self.nodes.len() {
                return Err(Broken::new("messages", format!("{own} writes to {to}, which nobody is")));
            }
            match &message {
                Message::Proposer(ProposerMessage::ReadIndex { batch }) => {
                    self.checks.fresh.on_question(own, life, *batch)?;
                }
                Message::Proposer(ProposerMessage::HeartbeatAck { ballot, .. }) => {
                    self.checks.promises.on_heartbeat_answer(own, *ballot)?;
                }
                _ => {}
            }
            packets.entry(self.position(to)).or_default().push(message);
        }
        for (to, messages) in packets {
            if !self.links.is_up(node, to) {
                continue;
            }
            // Mostly one frame, as links do; sometimes one for each message, so that any of them may be lost alone.
            if messages.len() > 1 && self.dice.network.below(3) == 0 {
                for message in messages {
                    self.launch(Packet { from: node, life, to, durable, messages: vec![message] });
                }
            } else {
                self.launch(Packet { from: node, life, to, durable, messages });
            }
        }
        Ok(())
    }

    /// Looks at what a leader proposes and announces, to its own acceptor or another.
    pub(super) fn proposes(&mut self, node: usize, message: &AcceptorMessage) -> Held {
        let Checks { agreement, members, states, .. } = &mut self.checks;
        match message {
            AcceptorMessage::Accept { ballot, proposals, chosen_upto } => {
                let own = self.nodes[node].id;
                let mut slots = proposals.iter().map(|(slot, _)| *slot);
                slots.try_for_each(|slot| members.on_propose(own, *ballot, slot, states))?;
                proposals.iter().try_for_each(|(slot, value)| agreement.on_propose(*ballot, *slot, value))?;
                agreement.on_announce(*ballot, *chosen_upto)
            }
            AcceptorMessage::Heartbeat { ballot, chosen_upto, .. }
            | AcceptorMessage::Announce { ballot, chosen_upto } => agreement.on_announce(*ballot, *chosen_upto),
            _ => Ok(()),
        }
    }

    fn launch(&mut self, packet: Packet) {
        let Network { loss, duplicate, least_us, spread_us, late } = self.network;
        let dice = &mut self.dice.network;
        self.counts.packets += 1;
        self.script.to_nodes += packet.messages.len() as u64;
        let fate = dice.below(1000);
        if fate < loss {
            return self.counts.fault(FaultKind::Loss);
        }
        let mut arrival = |counts: &mut Counts| {
            let spread_us = dice.below(spread_us + 1);
            let mut takes_us = least_us + spread_us;
            if dice.below(1000) < late {
                takes_us *= 10;
                counts.fault(FaultKind::Delay);
            }
            takes_us
        };
        let takes_us = arrival(&mut self.counts);
        let again_us = (fate >= 1000 - duplicate).then(|| arrival(&mut self.counts) + 50);
        let (from, to) = (packet.from, packet.to);
        if let Some(again_us) = again_us {
            self.counts.fault(FaultKind::Duplicate);
            let at_us = self.links.arrival_us(from, to, self.now_us + again_us);
            self.queue.plan(at_us, Happening::Arrives(Box::new(packet.clone())));
        }
        let at_us = self.links.arrival_us(from, to, self.now_us + takes_us);
        if self.links.overtakes(from, to, at_us) && spread_us > 0 {
            self.counts.fault(FaultKind::Reorder);
        }
        self.queue.plan(at_us, Happening::Arrives(Box::new(packet)));
    }

    pub(super) fn arrives(&mut self, packet: Packet) {
        let Packet { from, life, to, durable, messages } = packet;
        // What a process said before it ended can still be read, until its next life has shaken hands.
        let sender = &self.nodes[from];
        let same_life = sender.life == life && !matches!(sender.state, State::Down);
        if self.links.is_up(from, to) != same_life || !self.links.is_open(from, to) {
            return;
        }
        let held_us = self.links.arrival_us(from, to, self.now_us);
        if held_us > self.now_us {
            let packet = Packet { from, life, to, durable, messages };
            return self.queue.plan(held_us, Happening::Arrives(Box::new(packet)));
        }
        let (sender, own) = (self.nodes[from].id, self.nodes[to].id);
        for message in &messages {
            self.trace.arrives(self.now_us, from, to, message);
        }
        let Some(running) = self.nodes[to].running_mut() else { return };
        self.checks.shown.on_arrival(own, (sender, u64::from(life)), durable);
        for message in &messages {
            if let Message::Acceptor(AcceptorMessage::Hearsay { batches }) = message {
                self.checks.shown.on_hearsay(own, batches);
            }
        }
        running.receive(own, (sender, u64::from(life)), durable, messages);
        self.wake_roles(to);
    }

    /// Nodes that are not linked try to shake hands; links that are dead are noticed.
    pub(super) fn greets(&mut self) -> Held {
        for (one, other) in self.links.dead() {
            self.links.drop(one, other);
        }
        for one in 0..self.nodes.len() {
            for other in one + 1..self.nodes.len() {
                self.greet(one, other)?;
            }
        }
        let every_us = if self.calm { 20_000 } else { 5_000 + self.dice.network.below(60_000) };
        self.queue.plan(self.now_us + every_us, Happening::Greets);
        Ok(())
    }

    fn greet(&mut self, one: usize, other: usize) -> Held {
        let open = |from, to| self.links.is_open(from, to);
        let runs =
            |node: usize| self.nodes[node].running().is_some() && self.nodes[node].paused_until_us <= self.now_us;
        if self.links.is_up(one, other) || !runs(one) || !runs(other) || !open(one, other) || !open(other, one) {
            return Ok(());
        }
        // As in the handshake: each looks at what the other says of itself.
        let (hello, peer_hello) = (self.nodes[one].hello(), self.nodes[other].hello());
        let admitted = [
            (one, self.admits(other, &hello), hello.agrees_with(&peer_hello)),
            (other, self.admits(one, &peer_hello), peer_hello.agrees_with(&hello)),
        ];
        let has_left = |node: usize| self.checks.states.membership().left(self.nodes[node].id).is_some();
        let is_whole = |node: usize| self.nodes[node].incarnation == self.nodes[node].folder;
        let mut is_refused = false;
        for (node, admits, agrees) in admitted {
            let Node { id, incarnation, folder, .. } = &self.nodes[node];
            match (admits.and(agrees), incarnation == folder) {
                (Ok(()), false) => {
                    return Err(Broken::new("admission", format!("{id} comes with a wiped disk, and is let in")));
                }
                // Whoever has left is told so, and so may be whoever meets another of its name that has.
                (Err(refused), true)
                    if !has_left(one) && !has_left(other) && [one, other].into_iter().all(is_whole) =>
                {
                    return Err(Broken::new("admission", format!("{id} is a member, and refused: {refused}")));
                }
                (admits, _) => is_refused |= admits.is_err(),
            }
        }
        if is_refused {
            return Ok(());
        }
        self.links.raise(one, other);
        self.trace.note(self.now_us, Lanes::Between(one, other), "greet", || "shake hands".into());
        for (node, peer) in [(one, other), (other, one)] {
            let (own, id) = (self.nodes[node].id, self.nodes[peer].id);
            let boot = u64::from(self.nodes[node].life);
            let witnessed = self.nodes[peer].running().expect("runs").hearsay.before(own, boot);
            self.checks.shown.on_greeting(id, (own, boot), witnessed)?;
            let running = self.nodes[node].running_mut().expect("runs");
            running.greet(own, id, witnessed);
            self.nodes[node].has_met = true;
            self.wake_roles(node);
        }
        Ok(())
    }

    /// Whether a node lets in whoever says this of itself, and takes it for whom it is.
    fn admits(&self, node: usize, peer: &NodeHello) -> Result<(), RefusedBecause> {
        let founded = &self.nodes[node].running().expect("it shakes hands").founded;
        founded.admits(peer)?;
        match (founded.number(peer), peer.identity) {
            (Some(number), Some(theirs)) if number == theirs.node => Ok(()),
            _ => Err(RefusedBecause::Malformed),
        }
    }
}
