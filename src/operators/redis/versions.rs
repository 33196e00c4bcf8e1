//! Which server can read whose data: the version of the RDB format decides, also for a full synchronization.
//!
//! Redis up to 7.2 writes RDB versions up to 11, which every Valkey reads. Redis 7.4 and later write versions that Valkey does not read,
//! and Valkey 9 writes its own. A replica empties itself before it finds out, so the check comes before `REPLICAOF`.

use crate::engines::redis::{Engine, Info};

/// The replica can load what the primary sends.
pub fn can_follow(replica: &Info, primary: &Info) -> bool {
    can_read(replica.engine, &replica.version, primary)
}

/// A server of this engine and version can load the data of `writer`. A version that cannot be read is believed.
pub fn can_read(engine: Engine, version: &str, writer: &Info) -> bool {
    let (Some(reader), Some(written)) = (major_minor(version), major_minor(&writer.version)) else {
        return true;
    };
    match (engine, writer.engine) {
        (Engine::Redis, Engine::Redis) | (Engine::Valkey, Engine::Valkey) => reader >= written,
        (Engine::Valkey, Engine::Redis) => written <= (7, 2),
        (Engine::Redis, Engine::Valkey) => false,
    }
}

/// `(8, 0)` of `8.0.2`.
pub fn major_minor(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split('.').map(str::parse);
    Some((parts.next()?.ok()?, parts.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(engine: Engine, version: &str) -> Info {
        Info {
            engine,
            version: version.into(),
            ..Info::default()
        }
    }

    #[test]
    fn a_replica_reads_its_own_engine_upwards_and_old_redis() {
        use Engine::{Redis, Valkey};
        for (reader, read, writer, written, can) in [
            (Redis, "7.0.15", Redis, "7.0.15", true),
            (Redis, "8.0.2", Redis, "7.0.15", true),
            (Redis, "7.0.15", Redis, "8.0.2", false),
            (Redis, "7.2.4", Redis, "7.2.9", true),
            (Valkey, "9.0.1", Valkey, "8.1.1", true),
            (Valkey, "8.1.1", Valkey, "9.0.1", false),
            (Valkey, "8.1.1", Redis, "7.2.4", true),
            (Valkey, "9.0.0", Redis, "7.4.0", false),
            (Valkey, "9.0.0", Redis, "8.0.2", false),
            (Redis, "8.0.2", Valkey, "8.1.1", false),
        ] {
            assert_eq!(
                can_follow(&server(reader, read), &server(writer, written)),
                can,
                "{reader:?} {read} reads {writer:?} {written}"
            );
        }
    }
}
