//! The reasons of conditions, events and blockers of the Redis operator. The documentation lists them all.

macro_rules! reasons {
    ($($name:ident = $meaning:literal, $action:literal;)*) => {
        $(#[doc = $meaning] pub const $name: &str = stringify!($name);)*
        /// Every reason with its meaning and what a user can do.
        pub const ALL: &[(&str, &str, &str)] = &[$((stringify!($name), $meaning, $action)),*];
        /// What a user can do about a reason; empty for an unknown one.
        pub fn action(reason: &str) -> &'static str {
            ALL.iter().find(|(name, ..)| *name == reason).map_or("", |(_, _, action)| action)
        }
    };
}

#[allow(non_upper_case_globals)]
mod list {
    reasons! {
        AllInstancesReady = "Every instance serves and is in sync.", "Nothing.";
        Creating = "The database is being created.", "Wait.";
        BootstrapCopying = "The first copy of the external server is under way.", "Wait; the message says how far it is.";
        BootstrapFollowing = "The copy follows the external server; writes are refused until the cut-over.", "Set spec.bootstrap.cutOver to true when the clients are ready to move.";
        BootstrapCuttingOver = "The database takes over from the external server.", "Wait; the message says what for.";
        BootstrapCompleted = "The database took over from the external server, and never replicates from it again.", "Stop the external server; spec.bootstrap can be removed.";
        BootstrapSourceUnavailable = "The external server does not answer, or refuses the login; what was copied is kept.", "Correct spec.bootstrap.external; when the server is gone for good, remove spec.bootstrap to serve what was copied.";
        BootstrapSourceUnusable = "The external server is not a primary, or is a node of a cluster.", "Name a primary in spec.bootstrap.external.host; docs/migration.md tells how the data of a cluster is moved.";
        BootstrapNotEmpty = "An instance holds data already; it is not overwritten by that of the external server.", "Remove spec.bootstrap to serve the data that is there, or give the Redis volumes that are empty.";
        InvalidSpec = "The spec has a value that cannot be used; it is left out until it is corrected, and the database goes on.", "Correct the field that the message names.";
        NameConflict = "An object with a name that Hera needs exists and belongs to something else; it is not touched.", "Delete or rename that object, or choose another name for the Redis.";
        ApiError = "The Kubernetes API refused or did not answer a call.", "Look at the message; Hera tries again with growing pauses.";
        SecretNotFound = "A Secret with a password does not exist; the user stays as it was.", "Create the Secret that the message names, or correct spec.auth.";
        SecretKeyMissing = "A Secret with a password has no such key, or an empty value; the user stays as it was.", "Add the key that the message names to the Secret.";
        PrimaryServing = "The primary accepts connections.", "Nothing.";
        ClusterServing = "Every slot has a primary that serves it, and every node sees the same.", "Nothing.";
        SlotsUncovered = "Slots have no primary that answers.", "Wait; the message says what Hera waits for.";
        ViewsDiffer = "The nodes do not all see the same primaries yet.", "Wait; look at the network between the pods when it lasts.";
        QuorumLost = "A majority of the primaries does not answer, and they may come back with their data.", "Look at the pods of the primaries that the message names.";
        SlotsLost = "Every copy of some slots is gone; the slots start empty.", "Use spec.storage when the data must survive a restart of all pods of a shard; with volumes, set the annotation redis.hera.dev/accept-data-loss: \"true\" to go on without the data.";
        ForeignCluster = "Two pods own slots and do not know each other, so they are of two clusters; they are not joined.", "Remove the volumes that hold the wrong one of the two.";
        SlotsBalanced = "Every slot is owned, and the shards have even shares.", "Nothing.";
        MovingSlots = "Slots are moved between the shards.", "Wait; the message says what Hera waits for.";
        NoPrimary = "There is no primary at the moment.", "Wait; the message says what Hera waits for.";
        PrimaryUnreachable = "The primary does not answer Hera, but its replicas still hear from it, or it is silent for too short a time.", "Check the network between Hera and the pod.";
        PrimaryBusy = "The primary runs a long script and answers BUSY; it is alive and stays the primary.", "End the script with SCRIPT KILL, or wait.";
        PrimaryLoading = "The server that holds the newest data loads it from disk.", "Wait.";
        FailingOver = "The primary was lost and a replica takes over.", "Wait.";
        FailoverCompleted = "A replica was promoted after the primary was lost.", "Nothing.";
        HandingOver = "The primary hands over to a replica without losing writes.", "Wait.";
        HandOverCompleted = "The primary handed over to a replica.", "Nothing.";
        HandOverFailed = "The hand-over did not finish in time; the primary stays.", "Look at the replicas; Hera tries again when it is still needed.";
        PrimaryAdopted = "A primary that Hera did not choose was found alive, and is followed.", "Nothing.";
        SecondPrimaryDemoted = "A second writable server was found and made a replica of the primary.", "Nothing.";
        WaitingForInstance = "An instance that may hold newer data does not answer yet.", "Wait, or name the pod to promote in the annotation redis.hera.dev/approve-primary.";
        NoLineageProof = "No instance can be proven to hold the newest data, so none is promoted.", "Look at the instances, then name the pod to promote in the annotation redis.hera.dev/approve-primary.";
        EmptyPrimary = "The primary is empty while another instance holds data of another lineage; it is not overwritten.", "Name the pod with the right data in the annotation redis.hera.dev/approve-primary.";
        DataSetEmpty = "Every instance restarted without its data; the database starts empty.", "Use spec.storage when the data must survive a restart of all pods.";
        RestartWouldLoseData = "A change needs a restart of the only server that holds the data, and it has no volume.", "Set spec.update.surge to true, or scale to two or more replicas in mode Replication, or set the annotation redis.hera.dev/accept-data-loss: \"true\".";
        Surging = "A temporary replica carries the data of a single server over its restart.", "Wait.";
        NoRisk = "No act that is due would lose data.", "Nothing.";
        ReplicasInSync = "Every replica is linked to the primary and in sync.", "Nothing.";
        ReplicasBehind = "A replica is not linked to the primary, or still synchronises.", "Wait; the message names the pods.";
        IncompatibleVersion = "A server of the version that is asked for, or a replica, could not read the data of the primary; it is not restarted or not attached.", "Use an engine and version that can read the data: the same engine, the same version or newer.";
        RollingUpdate = "Pods are replaced one by one.", "Wait.";
        RollWaiting = "A change needs restarts and waits until all instances are in sync.", "Look at the instances that are not ready.";
        RolloutBudgetExhausted = "Other databases restart pods at the moment.", "Wait, or raise the rollout budget of the manager.";
        UpdatePaused = "A change needs restarts, and spec.update.paused is true.", "Set spec.update.paused to false to go on.";
        OutsideMaintenanceWindow = "A change needs restarts and waits for spec.update.window.", "Wait, or change the window.";
        Soaking = "A restarted pod is watched for spec.update.soakSeconds before the next one is restarted.", "Look at the pod; correct the spec when something is wrong, or wait.";
        ApprovalNeeded = "All replicas are up to date, and the restart of the primary waits for approval.", "Set the annotation redis.hera.dev/approve-update to the revision that the message names.";
        Hibernated = "No pod runs because spec.hibernate is true; the volumes keep the data.", "Set spec.hibernate to false to wake the database.";
        Applying = "A change was written, and Kubernetes has not taken it up yet.", "Wait.";
        Settled = "Nothing is in progress.", "Nothing.";
        Scaling = "Pods are added or removed.", "Wait.";
        ConfigVerified = "Every directive of spec.config is in effect on every instance that answers.", "Nothing.";
        ConfigPending = "The configuration is being applied.", "Wait.";
        InvalidConfig = "The server refuses a directive or its value; the servers go on with the values that they had.", "Correct or remove the directive that the message names.";
            UsersVerified = "Every user is as spec.auth says on every instance that answers.", "Nothing.";
        UsersPending = "Users or their passwords are being set.", "Wait; the message names the instances that are waited for.";
        InvalidUser = "The server refuses the rules of a user, which stays as it was; all other users are applied.", "Correct the rules that the message names.";
            SentinelsAgree = "Every sentinel watches the primary and sees every instance.", "Nothing.";
        SentinelsLearning = "Sentinels are getting to know the primary, the replicas or each other.", "Wait; look at the network between the pods when it lasts.";
        SentinelsDisagree = "A sentinel names another primary than the others; it is told anew.", "Wait.";
        SentinelUnavailable = "A sentinel does not answer; the others can still fail over, unless the message says otherwise.", "Look at the pod that the message names.";
        SentinelQuorumLost = "So many sentinels do not answer that the others cannot fail over.", "Look at the pods of the sentinels; Hera fails over meanwhile when it is certain that the sentinels do not.";
            CertificateServed = "Every server serves the certificate of the Secret.", "Nothing.";
        CertificatePending = "A server does not serve the certificate of the Secret yet; it goes on with the former one.", "Wait: a changed Secret reaches the pods within about a minute.";
        EncryptionChanging = "Servers change over between plaintext and encryption, one after the other.", "Wait; the message says what Hera waits for.";
        CertificateExpiring = "Every server serves the certificate of the Secret, and it should have been renewed by now.", "Look at who renews the certificate.";
        CertificateNotIssued = "The issuer of spec.tls.issuerRef has not issued the certificate yet.", "Look at the Certificate that the message names, and at its issuer.";
        IssuerUnknown = "The kind by which spec.tls.issuerRef asks for a certificate does not exist in the cluster.", "Install cert-manager, or use spec.tls.secretName.";
        CertificateExpired = "The certificate of the Secret is not valid any more.", "Renew the certificate in the Secret that the message names; no restart is needed.";
        CertificateInvalid = "The certificate, the key or the CA in the Secret cannot be used; the servers go on with the former ones.", "Correct the Secret that the message names.";
            ExternalAddressesTold = "Clients outside of the Kubernetes cluster reach every pod by an address of its own.", "Nothing.";
        ExternalAddressPending = "The Service of a pod has no address for clients outside yet.", "Look at the events of the Service that the message names; a load balancer needs something in the cluster that makes it.";
        ExternalAddressUntold = "A node of the cluster does not tell clients the addresses outside yet.", "Wait; the nodes tell each other their names first.";
        ExternalPortUnsupported = "The nodes cannot tell clients another port than the one that replicas use, so they tell no addresses outside.", "Use type LoadBalancer in spec.services.external, or Valkey 9.";
            StorageBound = "Every volume is bound and has its size.", "Nothing.";
        NoStorage = "The database has no volumes.", "Nothing.";
        StorageClassNotFound = "The storage class does not exist.", "Create the storage class or correct spec.storage.storageClassName.";
        ForeignClaim = "A claim with the name that one of this Redis would have exists, and was not made for it; it is not touched, and no pod is made on it.", "Name the claim in spec.storage.existingClaims to use it with its data, or delete it.";
        ClaimInUse = "A claim of spec.storage.existingClaims cannot be taken over while something else has it.", "End what the message names.";
        ClaimAdopted = "A claim that existed before is used from now on.", "Nothing.";
        VolumePending = "A volume is not bound yet.", "Look at the events of the claim that the message names.";
        VolumeExpanding = "Volumes are growing.", "Wait.";
        VolumeExpansionUnsupported = "The storage class does not allow volumes to grow.", "Set allowVolumeExpansion in the storage class, or set spec.storage.size back.";
        VolumeExpansionFailed = "The storage refused to grow a volume.", "Look at the claim; set spec.storage.size back to a size that the storage can give.";
        PersistenceFailing = "A server could not write its data to its volume, and refuses writes until it can.", "Let spec.storage.size grow when the volume is full; look at the log of the pod that the message names.";
        VolumesHaveRoom = "The files of every server can be written anew on its volume.", "Nothing.";
        VolumeNearlyFull = "The files of a server may not fit on its volume when they are written anew (an estimate); it refuses writes when they do not.", "Let spec.storage.size grow.";
        MemoryHasRoom = "No server is about to refuse writes for want of memory.", "Nothing.";
        MemoryNearlyFull = "A server with the policy noeviction has used nearly all of maxmemory; it refuses writes when all is used.", "Raise spec.resources.limits.memory, add shards, or choose another spec.memory.policy.";
        ImagePullFailed = "The image of a pod cannot be pulled.", "Correct spec.image or spec.version, or the pull secret.";
        PodUnschedulable = "A pod finds no node.", "Free or add capacity, or relax resources or affinity.";
        PodCrashing = "The server of a pod ends again and again.", "Look at the logs of the pod; correct the spec.";
        PodNotCreated = "A pod does not exist yet.", "Look at the events of the StatefulSet.";
        PodStarting = "A pod starts.", "Wait.";
        ExporterNotRunning = "The exporter beside a server does not run, so that Kubernetes does not call the pod Ready.", "Look at the container exporter of the pod that the message names; correct or remove spec.monitoring.exporter.";
        InstanceUnreachable = "The server of a pod does not answer.", "Look at the pod and at network policies.";
        InstanceUnresponsiveDeleted = "A server that did not answer any more was replaced by deleting its pod.", "Nothing.";
        AccessDenied = "A server refuses Hera's own user.", "Restart the pod so that it reads its users again; without a volume only when another instance has its data.";
        Paused = "The annotation hera.dev/reconcile: paused stops all changes.", "Remove the annotation to go on.";
        NotPaused = "Changes are made.", "Nothing.";
        PlanOnly = "The annotation hera.dev/plan-only shows the plan and stops all changes.", "Remove the annotation to go on.";
    }
}
pub use list::*;
