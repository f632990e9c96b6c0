//! The host: starts a node's parts, founds the cluster, keeps its links, and watches over it.
//!
//! Before the founding there are links but no roles. Once every founder has been met, the founding is journaled, all
//! links are made anew (so that every handshake binds the cluster's id), and the roles start from the journal.
//!
//! Peers and doors come and go; the roles live and die with the node.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use actix::prelude::*;
use tokio::sync::{mpsc::UnboundedSender, oneshot};
use tokio::task::JoinHandle;

use super::backup::Backups;
use super::door::{self, Lobby};
use super::doors::Doors;
use super::events::{NEWS, wall_ms};
use super::guard::Guard;
use super::joining::{self, Asked};
use super::peer::{
    DialNoMore, DialNow, InboundAddresses, LinkChange, LinkEvent, Peer, SetAddress, Stop, TellAddresses, receive,
};
use super::registry::Registry;
use super::role::Lot;
use super::router::{Route, Router};
use super::stage::{About, Stage, Staged};
use super::start::{self, Origin, Started, Threads};
use crate::net::address_file;
use crate::net::handshake::AdmitAll;
use crate::net::identity::{Enrolment, Founded, NodeHello};
use crate::net::link::{Arrival, Connection, LinkContext, LinkError, LinkLimits, Listening, dial};
use crate::net::refusal::{Refused, RefusedBecause, Side};
use crate::net::report::Report;
use crate::paxos::meeting::{MEETING_MS, Meeting};
use crate::paxos::{AcceptorMessage, BatchNumber, Incarnation, Membership, NodeId, Settings, Slot, StateMachine};
use crate::storage::FileDisk;

/// What a host needs to know. The rest it finds out.
pub struct Setup {
    /// Protocol limits and times.
    pub settings: Settings,
    /// Where the node's files are.
    pub store: FileDisk,
    /// What clients copy of its snapshots.
    pub backups: Backups,
    /// Who we are to our peers.
    pub registry: Arc<Registry>,
    /// Who we are to people.
    pub about: Rc<About>,
    /// How far we have come.
    pub stage: Stage,
    /// The clients' connections.
    pub doors: Doors,
    /// Where the address book is kept.
    pub book: PathBuf,
    /// The voters, this node among them.
    pub voters: Vec<String>,
    /// What must be ended when the node stops, whatever has become of its host.
    pub threads: Rc<RefCell<Threads>>,
    /// Says that the node has left its cluster, and may stop.
    pub left: UnboundedSender<Slot>,
    /// Says that the node must stop, and why.
    pub fatal: UnboundedSender<String>,
}

/// What a node's executor says of the members.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub enum Members {
    /// They are these from now on.
    Are(Box<Membership>),
    /// This node has left, and may stop.
    WithoutUs {
        /// The first slot in which it had no vote.
        from: Slot,
    },
}

/// The actor that watches over a node.
pub struct Host {
    setup: Setup,
    guard: Guard,
    start_roles: Option<StartRoles>,
    founded: Option<Founded>,
    context: LinkContext,
    /// By name: the number that messages for it go to, once it is known, and its actor.
    peers: BTreeMap<String, (Option<NodeId>, Addr<Peer>)>,
    /// Connections that peers dialled.
    inbound: BTreeMap<(String, Incarnation), JoinHandle<()>>,
    /// Members that were replaced under their names and are heard until they have no vote any more.
    replaced: Vec<(NodeId, Addr<Peer>)>,
    router: Option<Addr<Router>>,
    /// Handshakes that the acceptor has not been told of; none once it was told of the first.
    meeting: Option<Meeting>,
    waiting: Vec<(String, oneshot::Sender<Result<String, String>>)>,
}

type StartRoles = Box<dyn FnOnce(&Setup, &Founded, Arc<AtomicU64>, Recipient<Members>) -> Result<Started, String>>;

impl Host {
    /// A host. With `founded` its roles start at once from what is held; with nothing held it only tells why.
    pub fn new<M: StateMachine + Unpin>(setup: Setup, founded: Option<Founded>, origin: Option<Origin<M>>) -> Host {
        let context = LinkContext {
            host: setup.registry.clone(),
            durable: Arc::new(AtomicU64::new(0)),
            dropped: Arc::new(AtomicU64::new(0)),
            limits: LinkLimits::default(),
        };
        let start_roles = origin.map(|origin| -> StartRoles {
            Box::new(move |setup, founded, durable, host| start::start(setup, founded, durable, host, origin))
        });
        let guard = Guard::new("the host", &setup.fatal);
        Host {
            setup,
            guard,
            start_roles,
            founded,
            context,
            peers: BTreeMap::new(),
            inbound: BTreeMap::new(),
            replaced: Vec::new(),
            router: None,
            meeting: Some(Meeting::new()),
            waiting: Vec::new(),
        }
    }

    /// What a listener needs of this host.
    pub fn context(&self) -> LinkContext {
        self.context.clone()
    }

    /// Every founder has been met: journals it, drops every link, and starts the roles.
    fn found_if_complete(&mut self, ctx: &mut Context<Host>) {
        if let (None, Some(founded)) = (&self.founded, self.setup.registry.complete()) {
            let names: Vec<&str> = founded.founders.members().iter().map(|member| member.name.as_str()).collect();
            let (name, id) = (&self.setup.about.name, founded.cluster_id.short());
            log::info!(target: NEWS, "{name}: founded cluster {id} of {}", names.join(", "));
            self.begin(founded, ctx);
        } else if let Staged::Founding { missing } = &mut *self.setup.stage.borrow_mut() {
            let still = self.setup.registry.missing();
            if still != *missing {
                log::info!(target: NEWS, "{}: waits for founders: {}", self.setup.about.name, still.join(", "));
            }
            *missing = still;
        }
    }

    /// This node belongs to a cluster now: makes every link anew, and starts the roles.
    fn begin(&mut self, founded: Founded, ctx: &mut Context<Host>) {
        for (_, peer) in std::mem::take(&mut self.peers).into_values() {
            peer.do_send(Stop);
        }
        std::mem::take(&mut self.inbound).into_values().for_each(|task| task.abort());
        self.setup.about.links.borrow_mut().clear();
        self.founded = Some(founded);
        self.serve(ctx);
    }

    /// A member says that this node is one, too. True if that is news: then every link is made anew.
    fn enrol(&mut self, enrolment: &Enrolment, ctx: &mut Context<Host>) -> bool {
        let enrolled = self.setup.registry.enrolled(enrolment).filter(|_| self.founded.is_none());
        let Some(founded) = enrolled else { return false };
        let (name, id) = (&self.setup.about.name, founded.cluster_id.short());
        log::info!(target: NEWS, "{name}: joins cluster {id} as node {}", founded.node);
        self.begin(founded, ctx);
        true
    }

    /// Starts the roles, if there is something to start them from, and the links.
    fn serve(&mut self, ctx: &mut Context<Host>) {
        if let Some(founded) = &self.founded
            && let Some(start) = self.start_roles.take()
        {
            match start(&self.setup, founded, self.context.durable.clone(), ctx.address().recipient()) {
                Ok(started) => {
                    let founded = Founded { membership: started.membership, ..founded.clone() };
                    self.setup.registry.found(founded.clone());
                    self.router = Some(started.router);
                    *self.setup.threads.borrow_mut() = started.threads;
                    ctx.run_later(MEETING, |host, _| host.greet_all());
                    self.founded = Some(founded);
                    *self.setup.stage.borrow_mut() = Staged::Serving(Box::new(started.serving));
                }
                Err(error) => return drop(self.setup.fatal.send(error)),
            }
        }
        match &self.founded {
            None => self.setup.voters.clone().iter().for_each(|voter| self.link_to(voter, None, ctx)),
            Some(_) => self.link_to_members(ctx),
        }
    }

    /// Links to every member, and to nobody who is none. Who has left keeps its link until it is gone itself.
    fn link_to_members(&mut self, ctx: &mut Context<Host>) {
        let Some(founded) = &self.founded else { return };
        let membership = founded.membership.clone();
        // Of two under one name the one that came last: the other's folder is lost.
        let members: BTreeMap<String, NodeId> =
            membership.members().into_iter().map(|member| (member.name.clone(), member.id)).collect();
        for (name, id) in &members {
            self.link_to(name, Some(*id), ctx);
        }
        let is_over = |name: &str, id: &Option<NodeId>| {
            !members.contains_key(name) && id.is_none_or(|id| id <= membership.last() && membership.left(id).is_none())
        };
        let over: Vec<String> =
            self.peers.iter().filter(|(name, (id, _))| is_over(name, id)).map(|(name, _)| name.clone()).collect();
        over.iter().for_each(|name| self.unlink(name));
        self.replaced.retain(|(id, peer)| {
            let votes = membership.votes(*id);
            if !votes {
                peer.do_send(Stop);
            }
            votes
        });
    }

    /// The name has gone to another folder. As long as the one before has a vote, nothing may be chosen without it: if it is
    /// still there, it goes on hearing what is said.
    fn give_name_away(&mut self, name: &str) {
        let votes = |id: &NodeId| self.founded.as_ref().is_some_and(|founded| founded.membership.votes(*id));
        match self.peers.get(name) {
            Some((Some(id), _)) if votes(id) => {
                if let Some((Some(id), peer)) = self.peers.remove(name) {
                    peer.do_send(DialNoMore);
                    self.replaced.push((id, peer));
                }
            }
            _ => self.unlink(name),
        }
    }

    fn unlink(&mut self, name: &str) {
        if let Some((_, peer)) = self.peers.remove(name) {
            peer.do_send(Stop);
            self.setup.about.links.borrow_mut().remove(name);
        }
    }

    /// Whether messages go to this node only for as long as it is there: it has left.
    fn has_left(&self, name: &str) -> bool {
        let Some(founded) = &self.founded else { return false };
        self.peers.get(name).is_some_and(|(id, _)| id.is_some_and(|id| founded.membership.left(id).is_some()))
    }

    /// Makes sure that a peer's actor runs and knows its address, and that messages for its number go there.
    fn link_to(&mut self, name: &str, id: Option<NodeId>, ctx: &mut Context<Host>) {
        if name == self.setup.about.name || matches!(&*self.setup.stage.borrow(), Staged::Broken { .. }) {
            return;
        }
        let address = self.setup.about.book.borrow().address_of(name).map(str::to_owned);
        if self.peers.get(name).is_some_and(|(known, _)| known.is_some() && id.is_some() && *known != id) {
            self.give_name_away(name);
        }
        if let Some((known, peer)) = self.peers.get_mut(name) {
            if let Some(address) = address {
                peer.do_send(SetAddress(address));
            }
            if known.is_none()
                && let (Some(router), Some(node)) = (&self.router, id)
            {
                *known = id;
                router.do_send(Route { node, peer: peer.clone() });
            }
            return;
        }
        let (context, events) = (self.context.clone(), ctx.address().recipient());
        let owned = name.to_owned();
        let guard = self.guard.of("the link to a peer");
        let peer = Supervisor::start(move |_| Peer::new(&owned, address, context, events).guarded(guard));
        if let (Some(router), Some(node)) = (&self.router, id) {
            router.do_send(Route { node, peer: peer.clone() });
        }
        self.setup.about.links.borrow_mut().entry(name.to_owned()).or_insert_with(|| "down".into());
        self.peers.insert(name.to_owned(), (id, peer));
    }

    /// Tells the acceptor that a handshake with a peer succeeded.
    ///
    /// The first ones are held back a moment, until all members have been met, newcomers included: whoever has seen the most
    /// of our journal should be heard before the first vote.
    fn greet(&mut self, peer: NodeId, witnessed: BatchNumber) {
        if let Some(meeting) = &mut self.meeting {
            let met = meeting.meet(peer, witnessed);
            if self.founded.as_ref().is_none_or(|founded| founded.membership.are_all(met, founded.node)) {
                self.greet_all();
            }
            return;
        }
        if let Staged::Serving(serving) = &*self.setup.stage.borrow() {
            let greeted = AcceptorMessage::Greeted { peer, witnessed, durable: serving.disk.durable() };
            serving.mailboxes.acceptor.do_send(Lot(vec![(serving.own, greeted)]));
        }
    }

    /// Tells the acceptor of everyone met so far.
    fn greet_all(&mut self) {
        for (peer, witnessed) in self.meeting.take().unwrap_or_default().ended() {
            self.greet(peer, witnessed);
        }
    }

    fn meet(&mut self, hello: &NodeHello, witnessed: BatchNumber, ctx: &mut Context<Host>) {
        // Whoever has not recorded the founding yet comes again when it has.
        let founded = self.founded.as_ref().filter(|_| hello.identity.is_some());
        let number = founded.and_then(|founded| founded.number(hello));
        if let Some(number) = number {
            self.greet(number, witnessed);
        }
        let moved = self.setup.about.book.borrow_mut().hear_first_hand(&hello.name, &hello.address, wall_ms());
        if number.is_some() {
            // It may be a member that this node does not know of yet.
            self.link_to(&hello.name, number, ctx);
        }
        if moved {
            self.spread(std::slice::from_ref(&hello.name), ctx);
        }
        self.found_if_complete(ctx);
    }

    /// The addresses of these nodes have changed: dial them there, write them down, and tell everybody.
    fn spread(&mut self, changed: &[String], ctx: &mut Context<Host>) {
        let known: Vec<String> = self.peers.keys().cloned().collect();
        for name in changed.iter().filter(|name| known.contains(name)) {
            self.link_to(name, None, ctx);
        }
        let book = self.setup.about.book.borrow();
        if let Err(error) = address_file::save(&self.setup.book, &book) {
            log::warn!("{}: cannot write the address book: {error}", self.setup.about.name);
        }
        for (_, peer) in self.peers.values() {
            peer.do_send(TellAddresses(book.entries().cloned().collect()));
        }
    }

    fn answer_waiting(&mut self, name: &str, answer: &Result<String, String>) {
        let (answered, waiting) =
            std::mem::take(&mut self.waiting).into_iter().partition(|(waits_for, _)| waits_for == name);
        self.waiting = waiting;
        let answered: Vec<(String, oneshot::Sender<_>)> = answered;
        for (_, sender) in answered {
            let _ = sender.send(answer.clone()); // whoever asked may have gone
        }
    }
}

impl Actor for Host {
    type Context = Context<Host>;

    fn started(&mut self, ctx: &mut Context<Host>) {
        self.found_if_complete(ctx);
        self.ask_to_join(ctx);
        if self.peers.is_empty() {
            self.serve(ctx);
        }
    }
}

impl Host {
    /// Asks to be made a member, again and again, until a handshake says that it is one.
    fn ask_to_join(&mut self, ctx: &mut Context<Host>) {
        let through = match &*self.setup.stage.borrow() {
            Staged::Joining { through: Some((address, _)) } => address.clone(),
            _ => return,
        };
        let options = self.setup.registry.joins_through(&through);
        let (hello, host) = (self.setup.registry.hello().clone(), ctx.address());
        self.guard.spawn("the way into the cluster", async move {
            loop {
                let asked = joining::ask(options.clone(), &hello).await;
                match host.send(asked).await {
                    Ok(true) => tokio::time::sleep(joining::AGAIN).await,
                    _ => return,
                }
            }
        });
    }
}

impl Message for Asked {
    type Result = bool;
}

impl Handler<Asked> for Host {
    type Result = bool;

    /// Whether to ask again.
    fn handle(&mut self, asked: Asked, _: &mut Context<Host>) -> bool {
        let mut stage = self.setup.stage.borrow_mut();
        let Staged::Joining { through: Some((address, outcome)) } = &mut *stage else { return false };
        let told = match asked {
            Asked::Member { through } => format!("{through} has added this node, and it waits to be dialled"),
            Asked::NotYet(why) => why,
            Asked::Never(why) => {
                let _ = self.setup.fatal.send(why); // nobody listens only when the node is stopping
                return false;
            }
        };
        if told != *outcome {
            log::info!(target: NEWS, "{}: joins through {address}: {told}", self.setup.about.name);
            *outcome = told;
        }
        true
    }
}

/// Listens for peers and clients from now on.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Listen(pub Listening);

impl Handler<Listen> for Host {
    type Result = ();

    fn handle(&mut self, Listen(listening): Listen, ctx: &mut Context<Host>) {
        let host = ctx.address();
        let context = self.context();
        let (about, mut turned_away) = (self.setup.about.clone(), TurnedAway::default());
        let serve = listening.serve(context, move |arrival| match arrival {
            Arrival::Connected(connection) => host.do_send(Arrived(connection)),
            Arrival::Failed { remote, error } => {
                turned_away.log(&about.name, remote, &error);
                if let LinkError::Refused(Refused { by: Side::Peer, because }) = error
                    && matches!(&because, RefusedBecause::UnknownIncarnation { name } if *name == about.name)
                {
                    about.refused.replace(Some(because.to_string()));
                }
            }
        });
        self.guard.spawn("the listener", serve);
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Arrived(Connection);

impl Handler<Arrived> for Host {
    type Result = ();

    fn handle(&mut self, Arrived(connection): Arrived, ctx: &mut Context<Host>) {
        let Some(hello) = connection.established.peer.node().cloned() else {
            let lobby = Lobby {
                stage: self.setup.stage.clone(),
                about: self.setup.about.clone(),
                doors: self.setup.doors.clone(),
                host: ctx.address(),
                backups: self.setup.backups.clone(),
                guard: self.guard.of("a client's door"),
            };
            let guest = self.setup.registry.guest();
            self.guard.spawn("a client's door", async move {
                let _guest = guest;
                door::serve(connection, lobby).await;
            });
            return;
        };
        let witnessed = connection.established.witnessed;
        if connection.established.enrolment.clone().is_some_and(|enrolment| self.enrol(&enrolment, ctx)) {
            return; // the peer dials again, and hears who we are now
        }
        let lots = self.router.clone().map(Addr::recipient);
        let addresses = ctx.address().recipient();
        let context = self.context.clone();
        // Before the founding a peer's messages would have no sender's number: only addresses matter then.
        let lots = lots.unwrap_or_else(|| Unrouted.start().recipient());
        let name = hello.name.clone();
        let presence = self.setup.registry.present(&hello);
        let reading = self.guard.spawn("the link from a peer", async move {
            let _presence = presence;
            let why = receive(connection, context, lots, addresses).await;
            log::debug!("the link from {name} ended: {why}");
        });
        // A peer talks on one connection: a new one means that it has given up the one before.
        if let Some(older) = self.inbound.insert((hello.name.clone(), hello.incarnation), reading) {
            older.abort();
        }
        self.meet(&hello, witnessed, ctx);
        if let Some((_, peer)) = self.peers.get(&hello.name) {
            peer.do_send(DialNow);
        }
    }
}

impl Handler<Members> for Host {
    type Result = ();

    fn handle(&mut self, members: Members, ctx: &mut Context<Host>) {
        let membership = match members {
            Members::Are(membership) => *membership,
            Members::WithoutUs { from } => {
                let _ = self.setup.left.send(from); // nobody listens only when the node is stopping anyway
                return;
            }
        };
        let Some(founded) = &mut self.founded else { return };
        // A journal that lost its tail is executed anew, and what was written down beside it says more.
        if membership.executed_upto() < founded.membership.executed_upto() {
            return;
        }
        founded.membership = membership.clone();
        self.setup.registry.renew(membership);
        self.link_to_members(ctx);
    }
}

/// Who was not let in, and why: said aloud once in a while, however often it comes back.
#[derive(Default)]
struct TurnedAway(BTreeMap<(std::net::IpAddr, String), tokio::time::Instant>);

impl TurnedAway {
    fn log(&mut self, node: &str, remote: std::net::SocketAddr, error: &LinkError) {
        let now = tokio::time::Instant::now();
        self.0.retain(|_, said| now - *said < SAY_AGAIN);
        let known = (remote.ip(), error.to_string());
        if self.0.contains_key(&known) || self.0.len() >= MOST_STRANGERS {
            return log::debug!("{node}: {remote} was not let in: {error}");
        }
        // Whoever dials and leaves again has been told nothing, and did no harm; peers that dial each other do it, too.
        let refused = matches!(error, LinkError::Refused(_));
        log::log!(
            if refused { log::Level::Warn } else { log::Level::Debug },
            "{node}: {remote} was not let in: {error}"
        );
        self.0.insert(known, now);
    }
}

/// Takes messages that arrive before there are roles; there can be none from an honest peer.
struct Unrouted;

impl Actor for Unrouted {
    type Context = Context<Unrouted>;
}

impl Handler<super::peer::InboundLot> for Unrouted {
    type Result = ();

    fn handle(&mut self, _: super::peer::InboundLot, _: &mut Context<Unrouted>) {}
}

impl Handler<LinkEvent> for Host {
    type Result = ();

    fn handle(&mut self, LinkEvent { name, change }: LinkEvent, ctx: &mut Context<Host>) {
        let (link, answer) = match &change {
            LinkChange::Up { .. } => ("up".to_owned(), Ok(name.clone())),
            LinkChange::Down { why } => ("down".to_owned(), Err(format!("cannot connect to {name}: {why}"))),
            LinkChange::Refused(refused) => {
                log::warn!("{}: no link to {name}: {refused}", self.setup.about.name);
                (refused.to_string(), Err(format!("{name} was not connected: {refused}")))
            }
        };
        let before = self.setup.about.links.borrow_mut().insert(name.clone(), link.clone());
        if (link == "up") != before.is_some_and(|before| before == "up") {
            log::info!("{}: the link to {name} is {link}", self.setup.about.name);
        }
        self.answer_waiting(&name, &answer);
        if link != "up" && self.has_left(&name) {
            return self.unlink(&name);
        }
        if let LinkChange::Up { hello, witnessed, enrolment } = change {
            if enrolment.is_some_and(|enrolment| self.enrol(&enrolment, ctx)) {
                return;
            }
            if let Some((_, peer)) = self.peers.get(&name) {
                peer.do_send(TellAddresses(self.setup.about.book.borrow().entries().cloned().collect()));
            }
            self.meet(&hello, witnessed, ctx);
        }
    }
}

impl Handler<InboundAddresses> for Host {
    type Result = ();

    fn handle(&mut self, told: InboundAddresses, ctx: &mut Context<Host>) {
        let own = &self.setup.about.name;
        let mut book = self.setup.about.book.borrow_mut();
        let news = told.addresses.into_iter().filter(|entry| entry.name != *own);
        let changed: Vec<String> = news.filter_map(|entry| book.hear(entry.clone()).then_some(entry.name)).collect();
        drop(book);
        if !changed.is_empty() {
            self.spread(&changed, ctx);
        }
    }
}

/// Dial a node, on a person's word.
#[derive(Message)]
#[rtype(result = "Result<String, String>")]
pub struct Dial {
    /// Its name.
    pub name: String,
    /// Its address.
    pub address: String,
}

impl Handler<Dial> for Host {
    type Result = ResponseFuture<Result<String, String>>;

    fn handle(&mut self, Dial { name, address }: Dial, ctx: &mut Context<Host>) -> Self::Result {
        let refused = |why: String| -> Self::Result { Box::pin(async move { Err(why) }) };
        if name == self.setup.about.name {
            return refused(format!("{name} is this node itself: name another one"));
        }
        if let Err(why) = crate::net::addresses::parse_named(&format!("{name}@{address}")) {
            return refused(why);
        }
        if matches!(&*self.setup.stage.borrow(), Staged::Broken { .. }) {
            let own = &self.setup.about.name;
            return refused(format!(
                "{own} cannot use its journal, and links to nobody: `status {own}` tells the mend"
            ));
        }
        if !self.peers.contains_key(&name) {
            let mut known: Vec<&str> = self.peers.keys().map(String::as_str).collect();
            known.push(&self.setup.about.name);
            known.sort_unstable();
            return refused(format!("{name} is no member of this cluster, which has {}", known.join(", ")));
        }
        let up = self.setup.about.links.borrow().get(&name).is_some_and(|link| link == "up");
        if up && self.setup.about.book.borrow().address_of(&name) == Some(address.as_str()) {
            return Box::pin(async move { Ok(name) });
        }
        // Tried first: a mistyped address must not take the place of one that works.
        let (context, host, about) = (self.context.clone(), ctx.address(), self.setup.about.clone());
        Box::pin(async move {
            let local = context.host.local().expecting(&name);
            if let Err(error) = dial(&address, local, &*context.host, DIAL_PATIENCE).await {
                if !up {
                    about.links.borrow_mut().insert(name.clone(), error.to_string());
                }
                return Err(format!("cannot connect to {name}: {error}"));
            }
            host.send(Introduce { name, address }).await.unwrap_or_else(|_| Err("the node is stopping".into()))
        })
    }
}

/// Find out who lives at an address, on a person's word.
#[derive(Message)]
#[rtype(result = "Result<Report, String>")]
pub struct Meet {
    /// `HOST:PORT`.
    pub address: String,
}

impl Handler<Meet> for Host {
    type Result = ResponseFuture<Result<Report, String>>;

    fn handle(&mut self, Meet { address }: Meet, _: &mut Context<Host>) -> Self::Result {
        let local = self.setup.registry.as_client();
        Box::pin(async move {
            let met = dial(&address, local, &AdmitAll, DIAL_PATIENCE).await;
            let met = met.map_err(|error| error.to_string())?;
            let hello = met.established.peer.node().ok_or_else(|| format!("no node lives at {address}"))?;
            Ok(Report::Met {
                name: hello.name.clone(),
                incarnation: hello.incarnation,
                node: hello.identity.map(|identity| identity.node),
            })
        })
    }
}

/// A node was found at this address.
#[derive(Message)]
#[rtype(result = "Result<String, String>")]
struct Introduce {
    name: String,
    address: String,
}

impl Handler<Introduce> for Host {
    type Result = ResponseFuture<Result<String, String>>;

    fn handle(&mut self, Introduce { name, address }: Introduce, ctx: &mut Context<Host>) -> Self::Result {
        self.setup.about.book.borrow_mut().hear_first_hand(&name, &address, wall_ms());
        let (sender, answered) = oneshot::channel();
        self.waiting.push((name.clone(), sender));
        self.spread(std::slice::from_ref(&name), ctx);
        let about = self.setup.about.clone();
        Box::pin(async move {
            match tokio::time::timeout(DIAL_PATIENCE, answered).await {
                Ok(Ok(answer)) => answer,
                _ => {
                    let links = about.links.borrow();
                    let link = links.get(&name).map_or("down", String::as_str);
                    Err(format!("cannot connect to {name} at {address}: the link is {link}"))
                }
            }
        })
    }
}

/// How long a node waits to meet all members before it votes with a quorum of them.
const MEETING: Duration = Duration::from_millis(MEETING_MS);
/// How long a person waits for a node to be dialled.
const DIAL_PATIENCE: Duration = Duration::from_secs(3);
/// How long a stranger's repeated failure goes without another warning.
const SAY_AGAIN: Duration = Duration::from_secs(60);
/// How many strangers are told apart in warnings.
const MOST_STRANGERS: usize = 64;
