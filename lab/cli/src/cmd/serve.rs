//! `lab serve SERVICE`: one of the services in the foreground, in a runtime of the size it asks for.

use crate::args::{Serve, Service};
use crate::error::{Code, LabError};

/// Runs it until it is told to stop.
pub fn run(args: Serve) -> Result<Code, LabError> {
    let serve = match &args.service {
        Service::User(config) => &config.serve,
        Service::Message(config) => &config.serve,
        Service::Load(config) => &config.serve,
        Service::Adapter(config) => &config.serve,
    };
    let failed = |error| LabError::failed("the service could not go on", error);
    let runtime = serve.runtime().map_err(failed)?;
    let served = runtime.block_on(async {
        match args.service {
            Service::User(config) => user_service::run(config).await,
            Service::Message(config) => message_service::run(config).await,
            Service::Load(config) => load_generator::run(config).await,
            Service::Adapter(config) => metrics_adapter::run(config).await,
        }
    });
    served.map_err(failed)?;
    Ok(Code::Ok)
}
