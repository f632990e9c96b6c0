//! Nodes start and stop; their roles, disks and keepers take turns.

use super::{Happening, World};
use crate::paxos::dice::Dice;
use crate::paxos::dispatch::{DiskWork, Dispatch};
use crate::paxos::{
    AcceptorMessage, ClientId, Event, ExecutorMessage, LearnerMessage, Message, ProposerMessage, Reply,
};
use crate::sim::check::{Broken, Checks, Held, admission, bounds, durable, watermarks};
use crate::sim::node::{Loss, MEETING_US, Node, Role, Running, State};
use crate::sim::trace::Lanes;
use crate::sim::words;
use crate::storage::Keep;

impl World {
    /// Starts a node from what its disk holds.
    pub(in crate::sim) fn start(&mut self, node: usize) -> Held {
        self.harmed.forget(node);
        if self.nodes[node].gone {
            return Ok(());
        }
        let seed = self.dice.starts.roll();
        let (settings, journal) = (self.plan.settings.clone(), self.plan.journal);
        let started = self.nodes[node].start(&self.founded, &settings, journal, seed, self.now_us);
        let own = self.nodes[node].id;
        let life = self.nodes[node].life;
        self.counts.restarts += u64::from(life > 1);
        let lanes = if started.is_ok() { Lanes::Starts(node) } else { Lanes::Stops(node) };
        self.trace.note(self.now_us, lanes, (own, "start"), || match &started {
            Ok(_) => "starts".into(),
            Err(trouble) => format!("cannot use its journal: {trouble}"),
        });
        let dispatch = match started {
            Ok(dispatch) => dispatch,
            // The disk fails now, which says nothing of what it holds: the node stops, and tries again.
            Err(trouble) if self.nodes[node].disk.is_faulty() => {
                self.nodes[node].state = State::Broken(trouble.clone());
                self.disk_fails(node, 200_000, &trouble);
                return Ok(());
            }
            Err(trouble) if self.nodes[node].spoiled => {
                self.counts.losses_found += 1;
                self.nodes[node].state = State::Broken(trouble);
                return Ok(());
            }
            Err(trouble) => {
                return Err(Broken::new(
                    "recovery",
                    format!("{own} cannot read a journal that nobody damaged: {trouble}"),
                ));
            }
        };
        let lost = self.has_lost(node);
        if lost && !self.nodes[node].spoiled {
            return Err(Broken::new("recovery", format!("{own} lost durable batches, and nobody damaged its disk")));
        }
        let running = self.nodes[node].running_mut().expect("just started");
        self.checks.members.on_start(own, running.replica.executor.executed_upto());
        let acceptor = running.replica.acceptor.clone();
        let written = acceptor.admission().witnessed().iter().map(|(peer, batch)| (*peer, *batch));
        self.checks.shown.on_start(own, written);
        let knows = acceptor.admission().amnesiac();
        admission::remembers(own, self.nodes[node].loss == Loss::Recorded, knows)?;
        self.nodes[node].loss = if knows { Loss::Recorded } else { Loss::Unknown };
        if !lost && !acceptor.repair().is_under_way() {
            self.checks.promises.check(&acceptor, own)?;
        }
        self.queue.plan(self.now_us + MEETING_US, Happening::MeetingEnds { node, life });
        let jitter_us = self.dice.turns.below(TICK_US);
        self.queue.plan(self.now_us + jitter_us, Happening::Tick { node, life });
        self.perform(node, dispatch)
    }

    /// Whether its journal ends below what it let peers hear of.
    fn has_lost(&self, node: usize) -> bool {
        let node = &self.nodes[node];
        node.running().is_some_and(|running| running.recovered < node.claimed)
    }

    /// A node's process ends. With `power`, its disk loses some of what was not synced. It is started again later.
    pub(in crate::sim) fn crash(&mut self, node: usize, power: bool, for_us: u64, why: &str) {
        if matches!(self.nodes[node].state, State::Down) {
            return;
        }
        let own = self.nodes[node].id;
        self.trace.note(self.now_us, Lanes::Stops(node), (own, "crash", power), || format!("stops: {why}"));
        let chance = &mut self.dice.disks;
        if power {
            self.nodes[node].disk.crash(|most| chance.below(most + 1));
        } else {
            self.nodes[node].disk.restart();
        }
        self.nodes[node].state = State::Down;
        self.links.drop_all_of(node);
        for client in 0..self.clients.len() {
            if let Some(connection) = self.clients[client].connection.filter(|connection| connection.node == node) {
                let at_us = self.now_us + 100 + self.dice.network.below(2_000);
                self.queue.plan(at_us, Happening::Breaks { client, connection: connection.number });
            }
        }
        let life = self.nodes[node].life;
        self.queue.plan(self.now_us + for_us.max(1), Happening::Starts { node, life });
    }

    /// A disk did not do what it was asked, and its node stops, as real ones do: because the power goes, or the process is
    /// killed just then, or because of an error. After an error the power stays on, or does not.
    fn disk_fails(&mut self, node: usize, most_us: u64, error: &str) {
        let for_us = 1 + self.dice.disks.below(most_us);
        let killed_for_us = self.doomed.remove(&node);
        let power = match killed_for_us {
            Some(_) => false,
            None => self.nodes[node].disk.is_failing() || self.dice.disks.below(2) == 0,
        };
        self.crash(node, power, killed_for_us.unwrap_or(for_us), error);
    }

    // Roles, disks and keepers take turns.

    /// Plans a turn for every role that has mail, for the disk and for the keeper.
    pub(in crate::sim) fn wake_roles(&mut self, node: usize) {
        let now_us = self.now_us;
        let Node { life, paused_until_us, stalled_until_us, slowness, state, .. } = &mut self.nodes[node];
        let State::Up(running) = state else { return };
        let from_us = now_us.max(*paused_until_us);
        for role in Role::ALL {
            if !running.mail[role as usize].is_empty() && !running.turn_due[role as usize] {
                running.turn_due[role as usize] = true;
                let wait_us = delay(&mut self.dice.turns);
                self.queue.plan(from_us + wait_us, Happening::Turn { node, life: *life, role });
            }
        }
        if !running.disk_queue.is_empty() && !running.disk_due {
            running.disk_due = true;
            let wait_us = (40 + self.dice.disks.below(200)) * *slowness;
            self.queue.plan(from_us.max(*stalled_until_us) + wait_us, Happening::Disk { node, life: *life });
        }
        if !running.keeping.is_empty() && !running.keep_due {
            running.keep_due = true;
            let busy_us = self.dice.disks.below(5_000);
            // Sometimes it is far behind the journal.
            let behind = if *slowness == 1 && busy_us.is_multiple_of(8) { 20 } else { 1 };
            let wait_us = (200 + busy_us * behind) * *slowness;
            self.queue.plan(from_us.max(*stalled_until_us) + wait_us, Happening::Keeps { node, life: *life });
        }
    }

    /// Puts off what a node that stands still, or its disk, cannot do now. Whether it did.
    fn put_off(&mut self, node: usize, by_disk: bool, happening: Happening) -> Option<Happening> {
        let Node { paused_until_us, stalled_until_us, .. } = &self.nodes[node];
        let until_us = if by_disk { *paused_until_us.max(stalled_until_us) } else { *paused_until_us };
        if until_us <= self.now_us {
            return Some(happening);
        }
        self.queue.plan(until_us, happening);
        None
    }

    pub(super) fn turn(&mut self, node: usize, life: u32, role: Role) -> Held {
        let Some(own) = self.alive(node, life) else { return Ok(()) };
        let Some(_) = self.put_off(node, false, Happening::Turn { node, life, role }) else { return Ok(()) };
        let World { nodes, dice, counts, trace, checks, now_us, connections, .. } = self;
        let running = nodes[node].running_mut().expect("alive");
        running.turn_due[role as usize] = false;
        let waiting = running.mail[role as usize].len();
        // Mostly everything that waits, as actors do; sometimes a part, so that lots end anywhere.
        let most = if dice.turns.below(4) == 0 { 1 + dice.turns.below(waiting as u64) as usize } else { waiting };
        let mut held = Ok(());
        let mut taken = 0;
        let Checks { agreement, fresh, rounds, .. } = &mut *checks;
        let mut answered = Ok(());
        let answers = |client: ClientId, reply: &Reply, executed_upto| {
            if let (Some(index), Reply::Read { id, .. }) = (connections.get(&client.0), reply) {
                let answer = fresh.on_answer(own, *index as u64, *id, executed_upto);
                answered = std::mem::replace(&mut answered, Ok(())).and(answer);
            }
        };
        let seen = |from, message: &Message| {
            taken += 1;
            // It is shown when it arrives, or when the disk lets it go.
            trace.note(*now_us, Lanes::At(node), message, String::new);
            if let Message::Proposer(message) = message {
                rounds.on_message(own, from, message);
            }
            if let Message::Executor(ExecutorMessage::Chosen { entries }) = message {
                for (slot, _, value) in entries {
                    let believed = agreement.on_believed(own, *slot, value);
                    held = std::mem::replace(&mut held, Ok(())).and(believed);
                }
            }
        };
        let dispatch = running.turn(own, role, most, seen, answers);
        counts.messages += taken;
        held.and(answered)?;
        durable::check_role(own, &dispatch)?;
        if role == Role::Proposer {
            checks.rounds.on_lot(own, &dispatch, |slot| checks.states.configuration(slot))?;
        }
        if role == Role::Acceptor && !self.nodes[node].spoiled {
            let acceptor = &self.nodes[node].running().expect("alive").replica.acceptor;
            self.checks.promises.check(acceptor, own)?;
        }
        if role == Role::Executor {
            self.learn()?;
            let World { nodes, checks, harmed, .. } = self;
            let executor = &nodes[node].running().expect("alive").replica.executor;
            checks.members.on_executed(own, executor.executed_upto());
            if taken > 0 {
                harmed.judge(node, own, executor, checks.states.check(own, executor))?;
            }
        }
        self.perform(node, dispatch)
    }

    pub(super) fn disk(&mut self, node: usize, life: u32) -> Held {
        if self.alive(node, life).is_none() {
            return Ok(());
        }
        let Some(_) = self.put_off(node, true, Happening::Disk { node, life }) else { return Ok(()) };
        self.disk_turn(node)?;
        let Some(running) = self.nodes[node].running_mut() else { return Ok(()) };
        running.disk_due = false;
        let after = running.scribe.journal().commits();
        self.queue.plan(self.now_us + IDLE_US, Happening::Idle { node, life, after });
        self.wake_roles(node);
        Ok(())
    }

    /// The disk has had nothing to do for a while.
    pub(super) fn idle(&mut self, node: usize, life: u32, after: u64) -> Held {
        if self.alive(node, life).is_none() {
            return Ok(());
        }
        let Some(_) = self.put_off(node, true, Happening::Idle { node, life, after }) else { return Ok(()) };
        let running = self.nodes[node].running().expect("alive");
        if running.disk_due || running.scribe.journal().commits() != after {
            return Ok(());
        }
        self.disk_turn(node)
    }

    fn disk_turn(&mut self, node: usize) -> Held {
        let own = self.nodes[node].id;
        let disk = self.nodes[node].disk.clone();
        let running = self.nodes[node].running_mut().expect("alive");
        let turn = running.disk_turn(&disk);
        let heard = running.durable;
        durable::check(own, &turn)?;
        self.counts.batches += turn.batches;
        self.trace.note(self.now_us, Lanes::At(node), ("disk", turn.batches, turn.said.len()), || {
            words::disk(own, turn.batches, &turn.said)
        });
        for (_, message) in &turn.said {
            self.said(node, message)?;
        }
        let mut dispatch = Dispatch::default();
        for (to, message) in turn.said {
            if to == own { dispatch.mail.push(own, message) } else { dispatch.remote.push((to, message)) }
        }
        self.nodes[node].claimed = self.nodes[node].claimed.max(heard);
        if self.nodes[node].loss == Loss::Told && turn.error.is_none() {
            self.nodes[node].loss = Loss::Recorded;
        }
        self.perform(node, dispatch)?;
        if let Some(error) = turn.error {
            self.disk_fails(node, 400_000, &error);
            return Ok(());
        }
        if self.dice.disks.below(2) == 0
            && let Some(Err(error)) = self.nodes[node].running_mut().map(Running::make_spare)
        {
            self.disk_fails(node, 1_000, &error);
        }
        Ok(())
    }

    /// A node says something that hangs on its disk.
    fn said(&mut self, node: usize, message: &Message) -> Held {
        let World { nodes, checks, .. } = self;
        let own = nodes[node].id;
        match message {
            Message::Proposer(ProposerMessage::Promise(promise)) => {
                checks.promises.on_promise(own, promise)?;
                checks.members.on_promise(own, promise);
            }
            Message::Learner(LearnerMessage::Accepted(accepted)) => {
                for slot in &accepted.slots {
                    self.checks.promises.on_vote(own, accepted.ballot, *slot)?;
                    let Some(configuration) = self.checks.states.configuration(*slot).cloned() else {
                        let detail = format!("{own} votes in slot {slot}, whose configuration nobody can know");
                        return Err(Broken::new("members", detail));
                    };
                    let checks = &mut self.checks;
                    let ballot = accepted.ballot;
                    if let Some(value) = checks.agreement.on_vote(own, ballot, *slot, &configuration)? {
                        checks.proposed.on_chosen(*slot, &value)?;
                        self.learn()?;
                    }
                }
            }
            Message::Acceptor(AcceptorMessage::Prepare(prepare)) => {
                checks.promises.on_prepare(prepare.ballot, prepare.from);
                checks.agreement.on_prepare(own, prepare.ballot, nodes[node].life)?;
            }
            _ => {}
        }
        Ok(())
    }

    pub(super) fn keeps(&mut self, node: usize, life: u32) -> Held {
        let Some(own) = self.alive(node, life) else { return Ok(()) };
        let Some(_) = self.put_off(node, true, Happening::Keeps { node, life }) else { return Ok(()) };
        let running = self.nodes[node].running_mut().expect("alive");
        running.keep_due = false;
        let installs = matches!(running.keeping.front(), Some(Keep::Installed { .. }));
        if installs {
            self.foresee(node)?;
        }
        let kept = self.nodes[node].running_mut().expect("alive").keep_turn(own);
        self.trace.note(self.now_us, Lanes::At(node), (own, "keeps"), || "works on a snapshot".into());
        let remote = match kept {
            Ok(said) => said,
            Err(error) => {
                self.disk_fails(node, 400_000, &error);
                return Ok(());
            }
        };
        if installs {
            self.foresee(node)?;
        }
        self.perform(node, Dispatch { remote, ..Dispatch::default() })
    }

    /// Killed at this moment, a node would start from what its disk holds: it must then take nothing for chosen, and
    /// supply nothing, that is not. A snapshot in place of slots, saved or not yet, is where that is hardest.
    fn foresee(&self, node: usize) -> Held {
        let own = self.nodes[node].id;
        let Some((twin, dispatch)) = self.twin_after(&self.nodes[node], |most| most) else {
            return Ok(()); // at a start that happens it is looked at why
        };
        let running = twin.running().expect("just started");
        let (trimmed_upto, upto) = (running.replica.learner.trimmed_upto(), running.replica.learner.chosen_upto());
        let supplied = running.scribe.journal().read_slots(trimmed_upto.next(), upto, usize::MAX);
        let believed = dispatch.mail.executor.into_iter().filter_map(|(_, message)| match message {
            ExecutorMessage::Chosen { entries } => Some(entries),
            _ => None,
        });
        let mut all = believed.flatten().chain(supplied.unwrap_or_default());
        all.try_for_each(|(slot, _, value)| self.checks.agreement.on_believed(own, slot, &value))
    }

    /// A node as it would start from what its disk holds, if the power failed now and what was not synced were kept so.
    pub(super) fn twin_after(&self, node: &Node, kept: impl FnMut(u64) -> u64) -> Option<(Node, Dispatch)> {
        let mut twin = Node { disk: node.disk.fork(), ..Node::new(node.id) };
        twin.disk.crash(kept);
        let started = twin.start(&self.founded, &self.plan.settings, self.plan.journal, 1, self.now_us);
        started.ok().map(|dispatch| (twin, dispatch))
    }

    pub(super) fn tick(&mut self, node: usize, life: u32) -> Held {
        let Some(own) = self.alive(node, life) else { return Ok(()) };
        let Some(_) = self.put_off(node, false, Happening::Tick { node, life }) else { return Ok(()) };
        let wall_off_ms = self.nodes[node].wall_off_ms;
        let now_us = self.now_us;
        let running = self.nodes[node].running_mut().expect("alive");
        let wall_ms = (EPOCH_MS + now_us / 1000).saturating_add_signed(wall_off_ms);
        let hearsay = running.tick(running.now_ms(now_us), wall_ms);
        let chosen_upto = self.chosen_upto();
        let running = self.nodes[node].running().expect("alive");
        bounds::check(own, running, &self.plan, chosen_upto)?;
        self.checks.shown.on_tick(own, now_us, hearsay.is_some())?;
        self.queue.plan(now_us + TICK_US, Happening::Tick { node, life });
        let mut dispatch = Dispatch::default();
        if let Some(hearsay) = hearsay {
            let others = self.nodes.iter().map(|node| node.id).filter(|id| *id != own);
            dispatch.remote.extend(others.map(|id| (id, hearsay.clone().into())));
        }
        self.perform(node, dispatch)
    }

    /// Performs what a lot of a role, or of the disk, asked for.
    pub(super) fn perform(&mut self, node: usize, dispatch: Dispatch) -> Held {
        let Dispatch { disk, mail, remote, replies, members: _, snapshots, events } = dispatch;
        let own = self.nodes[node].id;
        events.iter().try_for_each(|event| self.on_event(node, event))?;
        if events.contains(&Event::Admitted {}) {
            self.judge_admission(node)?;
            if self.excused {
                return Ok(()); // what it says in this very lot already follows from the loss
            }
        }
        for event in &events {
            if let Event::Dismissed { from } = event {
                return self.dismiss(node, *from);
            }
        }
        for work in &disk {
            if let DiskWork::ExecutedEverywhere { upto } = work {
                self.checks.members.on_everywhere(*upto, &self.checks.states)?;
            }
        }
        mail.acceptor.iter().try_for_each(|(_, message)| self.proposes(node, message))?;
        mail.proposer.iter().try_for_each(|(_, message)| self.tells(node, message))?;
        for (_, message) in &remote {
            if let Message::Proposer(message) = message {
                self.tells(node, message)?;
            }
        }
        self.script.on_mail(node, &mail);
        let Some(running) = self.nodes[node].running_mut() else { return Ok(()) };
        running.disk_queue.extend(disk);
        running.keeping.extend(snapshots.into_iter().map(Keep::Work));
        running.deliver(mail);
        let replica = &self.nodes[node].running().expect("just seen").replica;
        watermarks::check(own, replica, &self.nodes[node].disk)?;
        self.wake_roles(node);
        self.send(node, remote)?;
        for (client, replies) in replies {
            self.reply(client, replies);
        }
        Ok(())
    }

    fn on_event(&mut self, node: usize, event: &Event) -> Held {
        if !matches!(event, Event::Executed { .. }) {
            self.trace.note(self.now_us, Lanes::At(node), event, || words::event(event));
        }
        match event {
            Event::Leading { ballot, .. } => {
                self.counts.leaders += u64::from(self.leader.is_some_and(|leader| leader < *ballot));
                self.leader = self.leader.max(Some(*ballot));
            }
            Event::Installed { .. } => self.counts.installed += 1,
            Event::Rebuilt { .. } => self.counts.rebuilt += 1,
            Event::Agreed { .. } => self.counts.agreed += 1,
            Event::Diverged { .. } if !self.harmed.has(node) => {
                return Err(Broken::new(
                    "agreed_state",
                    format!("{} diverged, and nobody harmed it", self.nodes[node].id),
                ));
            }
            Event::Dropped { slot, ballot } => {
                let own = self.nodes[node].id;
                if let Some(configuration) = self.checks.states.configuration(*slot) {
                    self.checks.agreement.on_dropped(own, *ballot, *slot, configuration)?;
                }
                self.checks.promises.on_dropped(own, *ballot, *slot);
            }
            Event::Repaired {} => {
                self.counts.repaired += 1;
                let lost = self.has_lost(node);
                let World { nodes, checks, .. } = self;
                if let Some(running) = nodes[node].running().filter(|_| !lost) {
                    checks.promises.check(&running.replica.acceptor, nodes[node].id)?;
                }
            }
            Event::Amnesia { .. } => {
                admission::may_doubt(self.nodes[node].id, self.nodes[node].spoiled)?;
                self.counts.losses_found += 1;
                self.nodes[node].loss = Loss::Told;
            }
            _ => {}
        }
        Ok(())
    }

    /// A node was admitted in this lot; if nothing took that back in the same lot, it may vote from now on.
    fn judge_admission(&mut self, node: usize) -> Held {
        let Node { id, claimed, has_met, .. } = self.nodes[node];
        let running = self.nodes[node].running().expect("it just acted");
        if running.replica.acceptor.admission().admitted() {
            // Founders must all have met before the first of them votes (DESIGN section 4, rule 5).
            // Who came later was let in by a cluster that could not be founded differently any more.
            let all = !self.nodes[node].was_admitted && id.0 <= self.plan.nodes;
            let configurations = self.checks.states.configurations().values();
            admission::met_enough(id, &running.greeted, all, configurations)?;
            let judged = admission::judge(id, claimed, running.recovered, running.most_witnessed)?;
            if judged == admission::Judged::Undetectable {
                admission::asked_somebody(id, &running.greeted, has_met)?;
            }
            self.excused |= judged == admission::Judged::Undetectable;
            self.nodes[node].was_admitted = true;
        }
        Ok(())
    }
}

/// How long a role's turn waits: mostly little, sometimes a while.
fn delay(dice: &mut Dice) -> u64 {
    if dice.below(64) == 0 { dice.below(3_000) } else { 1 + dice.below(40) }
}

/// How often time passes for the roles, in microseconds.
const TICK_US: u64 = 10_000;
/// After how long without work a disk seals, in microseconds.
const IDLE_US: u64 = 200_000;
/// When the world begins by the wall clock, in milliseconds since 1970.
const EPOCH_MS: u64 = 1_700_000_000_000;
