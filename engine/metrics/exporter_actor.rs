//! The actor that serves the metrics for as long as it lives.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, RpcReplyPort, SpawnErr};
use tokio::sync::oneshot;

use super::{Exporter, Metrics, MetricsError};
use crate::pool::Task;

/// Longest time that a stop waits for scrapes in progress.
const STOP_DEADLINE: Duration = Duration::from_secs(1);

/// The address of the actor.
pub type MetricsExporterRef = ActorRef<MetricsExporterMsg>;

/// Serves `/metrics` and `/healthz`. It fails, for its supervisor to act on, when the endpoint ends by itself.
#[derive(Debug)]
pub struct MetricsExporter;

/// The exporter's messages.
#[derive(Debug)]
pub enum MetricsExporterMsg {
    /// The address that it listens on.
    Address(RpcReplyPort<SocketAddr>),
    /// The endpoint ended by itself.
    Ended(MetricsError),
}

/// The exporter's parts.
#[derive(Debug)]
pub struct MetricsExporterArgs {
    /// The bound endpoint.
    pub exporter: Exporter,
    /// The metrics to serve.
    pub metrics: Arc<Metrics>,
}

/// The endpoint at work.
#[derive(Debug)]
pub struct MetricsExporterState {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    served: Option<Task<()>>,
}

impl MetricsExporter {
    /// Starts it under a supervisor; it serves when this returns, and the address is where.
    ///
    /// # Errors
    /// [`SpawnErr`], where the actor cannot be started.
    pub async fn spawn(
        args: MetricsExporterArgs,
        supervisor: ActorCell,
    ) -> Result<(MetricsExporterRef, SocketAddr), SpawnErr> {
        let (actor, _) = Actor::spawn_linked(None, Self, args, supervisor).await?;
        let address = ractor::call!(actor, MetricsExporterMsg::Address)
            .map_err(|error| SpawnErr::StartupFailed(error.to_string().into()))?;
        Ok((actor, address))
    }
}

impl Actor for MetricsExporter {
    type Msg = MetricsExporterMsg;
    type State = MetricsExporterState;
    type Arguments = MetricsExporterArgs;

    async fn pre_start(
        &self,
        myself: MetricsExporterRef,
        args: MetricsExporterArgs,
    ) -> Result<MetricsExporterState, ActorProcessingErr> {
        let MetricsExporterArgs { exporter, metrics } = args;
        let address = exporter.address();
        let (stop, stopped) = oneshot::channel();
        let told = async {
            // A dropped sender says stop too.
            let _ = stopped.await;
        };
        let serving = Task::start("the metrics endpoint", exporter.serve(metrics, told));
        let served = Task::start("the wait for the metrics endpoint", async move {
            let reason = match serving.ended().await {
                Ok(Ok(())) => "it was stopped".into(),
                Ok(Err(error)) => error.to_string(),
                Err(crash) => crash.to_string(),
            };
            // Nobody listens any more after an ordinary stop.
            drop(myself.cast(MetricsExporterMsg::Ended(MetricsError::Ended { address, reason })));
        });
        Ok(MetricsExporterState { address, stop: Some(stop), served: Some(served) })
    }

    async fn handle(
        &self,
        _myself: MetricsExporterRef,
        message: MetricsExporterMsg,
        state: &mut MetricsExporterState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            MetricsExporterMsg::Address(reply) => Ok(reply.send(state.address)?),
            MetricsExporterMsg::Ended(error) => Err(error.into()),
        }
    }

    async fn post_stop(
        &self,
        _myself: MetricsExporterRef,
        state: &mut MetricsExporterState,
    ) -> Result<(), ActorProcessingErr> {
        drop(state.stop.take());
        if let Some(served) = state.served.take() {
            // What is not through by then is aborted.
            drop(tokio::time::timeout(STOP_DEADLINE, served.ended()).await);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;
    use tokio::task::JoinHandle;

    use super::super::exporter::tests::get_path;
    use super::super::registry::tests::sample;
    use super::*;

    async fn args() -> MetricsExporterArgs {
        MetricsExporterArgs { exporter: Exporter::bind("127.0.0.1:0").await.unwrap(), metrics: Arc::new(sample()) }
    }

    async fn start() -> (MetricsExporterRef, JoinHandle<()>) {
        Actor::spawn(None, MetricsExporter, args().await).await.unwrap()
    }

    #[tokio::test]
    async fn it_serves_while_it_lives_and_frees_its_address_when_stopped() {
        let (actor, ended) = start().await;
        let address = ractor::call!(actor, MetricsExporterMsg::Address).unwrap();
        assert!(get_path(address, "/metrics").await.contains("cellm_round 3"));
        // A peer that connects and says nothing must not hold up the stop for ever.
        let silent = TcpStream::connect(address).await.unwrap();
        actor.stop(None);
        ended.await.unwrap();
        drop(silent);
        becomes_free(address).await;
    }

    #[tokio::test]
    async fn two_can_live_in_one_process_and_each_tells_its_address() {
        let (root, _) = start().await;
        let (one, first) = MetricsExporter::spawn(args().await, root.get_cell()).await.unwrap();
        let (two, second) = MetricsExporter::spawn(args().await, root.get_cell()).await.unwrap();
        assert_ne!(first, second);
        assert!(get_path(second, "/healthz").await.ends_with("ok\n"));
        one.stop(None);
        two.stop(None);
        root.stop(None);
    }

    async fn becomes_free(address: SocketAddr) {
        let freed = async {
            while Exporter::bind(&address.to_string()).await.is_err() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), freed).await.unwrap();
    }

    #[tokio::test]
    async fn an_endpoint_that_ends_by_itself_fails_the_actor() {
        let (actor, ended) = start().await;
        let address = ractor::call!(actor, MetricsExporterMsg::Address).unwrap();
        actor.cast(MetricsExporterMsg::Ended(MetricsError::Ended { address, reason: "test".into() })).unwrap();
        ended.await.unwrap();
        becomes_free(address).await;
    }
}
