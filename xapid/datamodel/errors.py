"""Every error that a client can receive: one class a code, its fields in the order of the wire."""

# ruff: noqa: N818 (an error is named as the complaint it makes)

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import ClassVar


class ApiError(Exception):
    """An answer that tells the client what went wrong: a code, and parameters as text."""

    code: ClassVar[str]

    @classmethod
    def parameters(cls) -> tuple[str, ...]:
        """The names of the parameters, in the order of the wire."""
        return tuple(f.name for f in fields(cls))  # type: ignore[arg-type]  # each one is a dataclass

    def wire(self) -> list[str]:
        """The value of ErrorDescription: the code, then each parameter as text."""
        return [self.code, *(str(getattr(self, name)) for name in self.parameters())]

    def __str__(self) -> str:
        return f"{self.code}({', '.join(self.wire()[1:])})"


# The call itself


@dataclass(eq=False)
class MessageMethodUnknown(ApiError):
    """There is no such method; check its name against the API reference."""

    code = "MESSAGE_METHOD_UNKNOWN"
    method: str


@dataclass(eq=False)
class MessageParameterCountMismatch(ApiError):
    """The method takes another number of parameters; compare the call with its signature."""

    code = "MESSAGE_PARAMETER_COUNT_MISMATCH"
    method: str
    expected: int
    received: int


@dataclass(eq=False)
class MessageDeprecated(ApiError):
    """The method is no longer supported; use what replaced it."""

    code = "MESSAGE_DEPRECATED"


@dataclass(eq=False)
class MessageRemoved(ApiError):
    """The method has been removed; use what replaced it."""

    code = "MESSAGE_REMOVED"


@dataclass(eq=False)
class FieldTypeError(ApiError):
    """The value given for this field or parameter is not of its type; convert it first."""

    code = "FIELD_TYPE_ERROR"
    field: str


@dataclass(eq=False)
class XMLRPCUnmarshalFailure(ApiError):
    """The request could not be read as the type that was expected; correct its encoding."""

    code = "XMLRPC_UNMARSHAL_FAILURE"
    expected: str
    received: str


@dataclass(eq=False)
class InvalidValue(ApiError):
    """The value is not one that the field accepts; choose another."""

    code = "INVALID_VALUE"
    field: str
    value: str


@dataclass(eq=False)
class ValueNotSupported(ApiError):
    """The value is legal but not supported here, for the reason given; choose another."""

    code = "VALUE_NOT_SUPPORTED"
    field: str
    value: str
    reason: str


@dataclass(eq=False)
class MapDuplicateKey(ApiError):
    """The map has this key already; remove the old entry first."""

    code = "MAP_DUPLICATE_KEY"
    type: str
    param_name: str
    uuid: str
    key: str


@dataclass(eq=False)
class HandleInvalid(ApiError):
    """The reference names no object of this class.

    It may have been destroyed, so look it up again.
    """

    code = "HANDLE_INVALID"
    cls: str
    handle: str


@dataclass(eq=False)
class UUIDInvalid(ApiError):
    """No object of this class has this UUID; check it."""

    code = "UUID_INVALID"
    type: str
    uuid: str


@dataclass(eq=False)
class ObjectNolongerExists(ApiError):
    """The object has been destroyed; look for another."""

    code = "OBJECT_NOLONGER_EXISTS"


@dataclass(eq=False)
class DBUniquenessConstraintViolation(ApiError):
    """Another object has this value in a field where it must be unique; choose another."""

    code = "DB_UNIQUENESS_CONSTRAINT_VIOLATION"
    table: str
    field: str
    value: str


@dataclass(eq=False)
class NotImplementedYet(ApiError):
    """This server does not have the function yet; do without it."""

    code = "NOT_IMPLEMENTED"
    function: str


@dataclass(eq=False)
class InternalError(ApiError):
    """The server failed for a reason of its own; its log says more."""

    code = "INTERNAL_ERROR"
    message: str


@dataclass(eq=False)
class OperationNotAllowed(ApiError):
    """The operation is not allowed now, for the reason given; remove the reason and try again."""

    code = "OPERATION_NOT_ALLOWED"
    reason: str


@dataclass(eq=False)
class OperationBlocked(ApiError):
    """An administrator has blocked this operation on the object; ask for the block to be lifted."""

    code = "OPERATION_BLOCKED"
    ref: str
    error_code: str


@dataclass(eq=False)
class OperationPartiallyFailed(ApiError):
    """Part of the operation failed; look at the objects concerned before trying again."""

    code = "OPERATION_PARTIALLY_FAILED"
    operation: str


@dataclass(eq=False)
class OtherOperationInProgress(ApiError):
    """Another operation holds the object; wait for it to end, or cancel it."""

    code = "OTHER_OPERATION_IN_PROGRESS"
    cls: str
    object: str
    operation_type: str
    operation_ref: str


@dataclass(eq=False)
class TooBusy(ApiError):
    """The server has too much to do; try again later."""

    code = "TOO_BUSY"


@dataclass(eq=False)
class TooManyPendingTasks(ApiError):
    """Too many tasks wait already; try again when some have ended."""

    code = "TOO_MANY_PENDING_TASKS"


@dataclass(eq=False)
class TaskCancelled(ApiError):
    """The task was cancelled; what it had done was undone."""

    code = "TASK_CANCELLED"
    task: str


@dataclass(eq=False)
class FeatureRestricted(ApiError):
    """The feature is not available on this server; do without it."""

    code = "FEATURE_RESTRICTED"


@dataclass(eq=False)
class FeatureRequiresHVM(ApiError):
    """The feature needs an HVM guest; change how the VM boots."""

    code = "FEATURE_REQUIRES_HVM"
    details: str


@dataclass(eq=False)
class LicenceRestriction(ApiError):
    """The licence of the host does not cover the feature; do without it."""

    code = "LICENCE_RESTRICTION"
    feature: str


@dataclass(eq=False)
class LicenseProcessingError(ApiError):
    """The licence file could not be used; check its contents."""

    code = "LICENSE_PROCESSING_ERROR"


@dataclass(eq=False)
class LicenseExpired(ApiError):
    """The licence of the host has expired; apply a new one."""

    code = "LICENSE_EXPIRED"


# Sessions and rights


@dataclass(eq=False)
class SessionAuthenticationFailed(ApiError):
    """The user name or the password is wrong; check both and log in again."""

    code = "SESSION_AUTHENTICATION_FAILED"


@dataclass(eq=False)
class SessionAuthorizationFailed(ApiError):
    """The user is known but may not log in here; ask an administrator."""

    code = "SESSION_AUTHORIZATION_FAILED"
    username: str
    msg: str


@dataclass(eq=False)
class SessionInvalid(ApiError):
    """The session has ended or never was; log in again."""

    code = "SESSION_INVALID"
    handle: str


@dataclass(eq=False)
class SessionNotRegistered(ApiError):
    """The session is registered for no events; call event.register first."""

    code = "SESSION_NOT_REGISTERED"
    handle: str


@dataclass(eq=False)
class ChangePasswordRejected(ApiError):
    """The new password was refused, for the reason given; choose another."""

    code = "CHANGE_PASSWORD_REJECTED"
    msg: str


@dataclass(eq=False)
class PermissionDenied(ApiError):
    """The caller may not do this; ask an administrator for the right."""

    code = "PERMISSION_DENIED"
    message: str


@dataclass(eq=False)
class RBACPermissionDenied(ApiError):
    """The roles of the caller do not include this permission; ask an administrator for it."""

    code = "RBAC_PERMISSION_DENIED"
    permission: str
    message: str


@dataclass(eq=False)
class UserIsNotLocalSuperuser(ApiError):
    """Only the local superuser may do this; log in as that user."""

    code = "USER_IS_NOT_LOCAL_SUPERUSER"
    msg: str


@dataclass(eq=False)
class RoleNotFound(ApiError):
    """There is no such role; check its name."""

    code = "ROLE_NOT_FOUND"


@dataclass(eq=False)
class RoleAlreadyExists(ApiError):
    """The user has this role already; nothing needs to be done."""

    code = "ROLE_ALREADY_EXISTS"


@dataclass(eq=False)
class AuthAlreadyEnabled(ApiError):
    """External authentication is on already; switch it off before changing it."""

    code = "AUTH_ALREADY_ENABLED"
    current_auth_type: str
    current_service_name: str


@dataclass(eq=False)
class AuthDisableFailed(ApiError):
    """External authentication could not be switched off; the message says why."""

    code = "AUTH_DISABLE_FAILED"
    message: str


@dataclass(eq=False)
class AuthEnableFailed(ApiError):
    """External authentication could not be switched on; the message says why."""

    code = "AUTH_ENABLE_FAILED"
    message: str


@dataclass(eq=False)
class AuthIsDisabled(ApiError):
    """External authentication is off; switch it on first."""

    code = "AUTH_IS_DISABLED"


@dataclass(eq=False)
class AuthServiceError(ApiError):
    """The external authentication service failed; the message says why."""

    code = "AUTH_SERVICE_ERROR"
    message: str


@dataclass(eq=False)
class AuthUnknownType(ApiError):
    """This kind of external authentication is not known; choose another."""

    code = "AUTH_UNKNOWN_TYPE"
    type: str


# Events


@dataclass(eq=False)
class EventsLost(ApiError):
    """Events were dropped before they were read; read all records again and register anew."""

    code = "EVENTS_LOST"


@dataclass(eq=False)
class EventSubscriptionParseFailure(ApiError):
    """The subscription could not be understood; name classes, or use an asterisk for all."""

    code = "EVENT_SUBSCRIPTION_PARSE_FAILURE"
    subscription: str


@dataclass(eq=False)
class EventFromTokenParseFailure(ApiError):
    """The token could not be understood; begin again with an empty one."""

    code = "EVENT_FROM_TOKEN_PARSE_FAILURE"
    token: str


# Hosts


@dataclass(eq=False)
class HostBroken(ApiError):
    """The host did not come up completely; its log says why."""

    code = "HOST_BROKEN"


@dataclass(eq=False)
class HostCannotAttachNetwork(ApiError):
    """The host cannot reach this network; connect it, or choose another host."""

    code = "HOST_CANNOT_ATTACH_NETWORK"
    host: str
    network: str


@dataclass(eq=False)
class HostCannotDestroySelf(ApiError):
    """A host cannot remove itself; ask another host of the pool to do it."""

    code = "HOST_CANNOT_DESTROY_SELF"
    host: str


@dataclass(eq=False)
class HostCannotReadMetrics(ApiError):
    """The metrics of the host could not be read; try again later."""

    code = "HOST_CANNOT_READ_METRICS"


@dataclass(eq=False)
class HostCannotSeeSR(ApiError):
    """The host has no PBD for this storage repository; create and plug one."""

    code = "HOST_CANNOT_SEE_SR"
    host: str
    sr: str


@dataclass(eq=False)
class HostCDDriveEmpty(ApiError):
    """The drive of the host is empty; put a disc in."""

    code = "HOST_CD_DRIVE_EMPTY"


@dataclass(eq=False)
class HostDisabled(ApiError):
    """The host is disabled; enable it first."""

    code = "HOST_DISABLED"
    host: str


@dataclass(eq=False)
class HostDisabledUntilReboot(ApiError):
    """The host is disabled until it is rebooted; reboot it."""

    code = "HOST_DISABLED_UNTIL_REBOOT"
    host: str


@dataclass(eq=False)
class HostHasNoManagementIP(ApiError):
    """The host has no management address; configure its management interface."""

    code = "HOST_HAS_NO_MANAGEMENT_IP"


@dataclass(eq=False)
class HostHasResidentVMs(ApiError):
    """VMs still run on the host; shut them down or move them first."""

    code = "HOST_HAS_RESIDENT_VMS"
    host: str


@dataclass(eq=False)
class HostInEmergencyMode(ApiError):
    """The host has lost its master; restore the master, or make this host one."""

    code = "HOST_IN_EMERGENCY_MODE"


@dataclass(eq=False)
class HostInUse(ApiError):
    """The host is used by another object; remove that object first."""

    code = "HOST_IN_USE"
    host: str
    type: str
    ref: str


@dataclass(eq=False)
class HostIsLive(ApiError):
    """The host is up, and this works only on one that is down; shut it down first."""

    code = "HOST_IS_LIVE"
    host: str


@dataclass(eq=False)
class HostIsSlave(ApiError):
    """This host is not the master of its pool; call the master at the address given."""

    code = "HOST_IS_SLAVE"
    master_ip_address: str


@dataclass(eq=False)
class HostItsOwnSlave(ApiError):
    """The host has itself as master; give the address of another host."""

    code = "HOST_ITS_OWN_SLAVE"


@dataclass(eq=False)
class HostMasterCannotTalkBack(ApiError):
    """The master cannot reach this host at its address; check the network between them."""

    code = "HOST_MASTER_CANNOT_TALK_BACK"
    ip: str


@dataclass(eq=False)
class HostNameInvalid(ApiError):
    """The host name is not acceptable, for the reason given; choose another."""

    code = "HOST_NAME_INVALID"
    reason: str


@dataclass(eq=False)
class HostNotDisabled(ApiError):
    """The host must be disabled before this; disable it."""

    code = "HOST_NOT_DISABLED"


@dataclass(eq=False)
class HostNotEnoughFreeMemory(ApiError):
    """The host has less free memory than is needed, both given in bytes.

    Stop a VM or give this one less.
    """

    code = "HOST_NOT_ENOUGH_FREE_MEMORY"
    needed: int
    available: int


@dataclass(eq=False)
class HostNotEnoughPCPUs(ApiError):
    """The VM has more vCPUs than the host has processors; give it fewer."""

    code = "HOST_NOT_ENOUGH_PCPUS"
    vcpus: int
    pcpus: int


@dataclass(eq=False)
class HostNotLive(ApiError):
    """The host is not up; start it and wait for it."""

    code = "HOST_NOT_LIVE"


@dataclass(eq=False)
class HostOffline(ApiError):
    """The host cannot be reached; check that it is on and connected."""

    code = "HOST_OFFLINE"
    host: str


@dataclass(eq=False)
class HostPowerOnModeDisabled(ApiError):
    """The host cannot be switched on remotely; configure how first."""

    code = "HOST_POWER_ON_MODE_DISABLED"


@dataclass(eq=False)
class HostStillBooting(ApiError):
    """The host is still starting; try again in a moment."""

    code = "HOST_STILL_BOOTING"


@dataclass(eq=False)
class HostUnknownToMaster(ApiError):
    """The master does not know this host; join the pool again."""

    code = "HOST_UNKNOWN_TO_MASTER"
    host: str


@dataclass(eq=False)
class HostsNotHomogeneous(ApiError):
    """The hosts differ too much to form a pool; the reason says in what."""

    code = "HOSTS_NOT_HOMOGENEOUS"
    reason: str


@dataclass(eq=False)
class HostsNotCompatible(ApiError):
    """The hosts cannot work together in a pool; bring them to the same version."""

    code = "HOSTS_NOT_COMPATIBLE"


@dataclass(eq=False)
class NoHostsAvailable(ApiError):
    """No host can take the VM; see what assert_can_boot_here says for each."""

    code = "NO_HOSTS_AVAILABLE"


@dataclass(eq=False)
class CannotContactHost(ApiError):
    """The host does not answer; check that it is on and connected."""

    code = "CANNOT_CONTACT_HOST"
    host: str


@dataclass(eq=False)
class CannotEvacuateHost(ApiError):
    """Some VMs cannot leave the host, each with its reason; deal with them first."""

    code = "CANNOT_EVACUATE_HOST"
    errors: str


@dataclass(eq=False)
class SystemStatusRetrievalFailed(ApiError):
    """The state of the system could not be gathered, for the reason given.

    Try fewer parts of it.
    """

    code = "SYSTEM_STATUS_RETRIEVAL_FAILED"
    reason: str


@dataclass(eq=False)
class InterfaceHasNoIP(ApiError):
    """The interface has no address; configure one first."""

    code = "INTERFACE_HAS_NO_IP"
    interface: str


@dataclass(eq=False)
class NotInEmergencyMode(ApiError):
    """The host is not in emergency mode, so there is nothing to recover from."""

    code = "NOT_IN_EMERGENCY_MODE"


@dataclass(eq=False)
class XenIncompatible(ApiError):
    """Xen refuses this version of the tools; install tools that fit the running Xen."""

    code = "XEN_INCOMPATIBLE"


@dataclass(eq=False)
class DomainBuilderError(ApiError):
    """Xen could not build the domain; check the kernel, the memory and the log."""

    code = "DOMAIN_BUILDER_ERROR"
    function: str
    error_code: str
    message: str


@dataclass(eq=False)
class DomainExists(ApiError):
    """The VM has a Xen domain already; destroy that domain first."""

    code = "DOMAIN_EXISTS"
    vm: str
    domid: int


@dataclass(eq=False)
class FailedToStartEmulator(ApiError):
    """The device emulator of the VM did not start; the log says why."""

    code = "FAILED_TO_START_EMULATOR"
    vm: str
    name: str
    msg: str


@dataclass(eq=False)
class BallooningTimeoutBeforeMigration(ApiError):
    """The guest did not give back memory in time; try again when it has less load."""

    code = "BALLOONING_TIMEOUT_BEFORE_MIGRATION"
    vm: str


# Pools


@dataclass(eq=False)
class HAIsEnabled(ApiError):
    """High availability is on; switch it off first."""

    code = "HA_IS_ENABLED"


@dataclass(eq=False)
class HANotEnabled(ApiError):
    """High availability is off; switch it on first."""

    code = "HA_NOT_ENABLED"


@dataclass(eq=False)
class HANotInstalled(ApiError):
    """High availability is not installed on this host; install it first."""

    code = "HA_NOT_INSTALLED"
    host: str


@dataclass(eq=False)
class HAOperationWouldBreakFailoverPlan(ApiError):
    """The operation would leave too little room for VMs to fail over; free some first."""

    code = "HA_OPERATION_WOULD_BREAK_FAILOVER_PLAN"


@dataclass(eq=False)
class JoiningHostCannotContainSharedSRs(ApiError):
    """A joining host must have no shared storage; forget or destroy it first."""

    code = "JOINING_HOST_CANNOT_CONTAIN_SHARED_SRS"


@dataclass(eq=False)
class JoiningHostCannotHaveRunningVMs(ApiError):
    """A joining host must have no running VMs; shut them down first."""

    code = "JOINING_HOST_CANNOT_HAVE_RUNNING_VMS"


@dataclass(eq=False)
class JoiningHostCannotHaveRunningOrSuspendedVMs(ApiError):
    """A joining host must have no running or suspended VMs; shut them down first."""

    code = "JOINING_HOST_CANNOT_HAVE_RUNNING_OR_SUSPENDED_VMS"


@dataclass(eq=False)
class JoiningHostCannotHaveVMsWithCurrentOperations(ApiError):
    """A joining host must have no VMs with operations in progress; wait for them."""

    code = "JOINING_HOST_CANNOT_HAVE_VMS_WITH_CURRENT_OPERATIONS"


@dataclass(eq=False)
class JoiningHostCannotBeMasterOfOtherHosts(ApiError):
    """A joining host must not be the master of others; send them out of its pool first."""

    code = "JOINING_HOST_CANNOT_BE_MASTER_OF_OTHER_HOSTS"


@dataclass(eq=False)
class JoiningHostConnectionFailed(ApiError):
    """The master could not be reached to join its pool; check its address."""

    code = "JOINING_HOST_CONNECTION_FAILED"


@dataclass(eq=False)
class JoiningHostServiceFailed(ApiError):
    """The master did not answer the joining host as expected; check that its service runs."""

    code = "JOINING_HOST_SERVICE_FAILED"


@dataclass(eq=False)
class ClusteringEnabled(ApiError):
    """Clustering is on for this host; switch it off first."""

    code = "CLUSTERING_ENABLED"
    cluster_host: str


@dataclass(eq=False)
class PatchAlreadyApplied(ApiError):
    """The patch has been applied already; nothing needs to be done."""

    code = "PATCH_ALREADY_APPLIED"
    patch: str


@dataclass(eq=False)
class PatchAlreadyExists(ApiError):
    """The patch has been uploaded already; use the one that is there."""

    code = "PATCH_ALREADY_EXISTS"
    uuid: str


@dataclass(eq=False)
class PatchApplyFailed(ApiError):
    """The patch could not be applied; its output says why."""

    code = "PATCH_APPLY_FAILED"
    output: str


@dataclass(eq=False)
class PatchIsApplied(ApiError):
    """The patch is applied, so it cannot be removed."""

    code = "PATCH_IS_APPLIED"


@dataclass(eq=False)
class CannotFindPatch(ApiError):
    """The file of the patch is gone; upload it again."""

    code = "CANNOT_FIND_PATCH"


@dataclass(eq=False)
class CannotFetchPatch(ApiError):
    """The patch could not be fetched from the master; check the network between them."""

    code = "CANNOT_FETCH_PATCH"
    uuid: str


@dataclass(eq=False)
class InvalidPatch(ApiError):
    """The file is not a valid patch; upload a good one."""

    code = "INVALID_PATCH"


@dataclass(eq=False)
class PatchPrecheckFailedPrerequisiteMissing(ApiError):
    """The patch needs others first; apply those."""

    code = "PATCH_PRECHECK_FAILED_PREREQUISITE_MISSING"
    patch: str
    prerequisite_patch_uuid_list: str


@dataclass(eq=False)
class PatchPrecheckFailedUnknownError(ApiError):
    """The check before the patch failed; the information given says how."""

    code = "PATCH_PRECHECK_FAILED_UNKNOWN_ERROR"
    patch: str
    info: str


@dataclass(eq=False)
class PatchPrecheckFailedWrongServerVersion(ApiError):
    """The patch is for another version of the server; find the right one."""

    code = "PATCH_PRECHECK_FAILED_WRONG_SERVER_VERSION"
    patch: str
    found_version: str
    required_version: str


# Virtual machines


@dataclass(eq=False)
class VMBadPowerState(ApiError):
    """The VM is not in a power state that the operation accepts; bring it into one first."""

    code = "VM_BAD_POWER_STATE"
    vm: str
    expected: str
    actual: str


@dataclass(eq=False)
class VMIsTemplate(ApiError):
    """The object is a template; clone it and use the clone."""

    code = "VM_IS_TEMPLATE"
    vm: str


@dataclass(eq=False)
class VMIsSnapshot(ApiError):
    """The object is a snapshot; clone it and use the clone."""

    code = "VM_IS_SNAPSHOT"
    vm: str


@dataclass(eq=False)
class VMIsProtected(ApiError):
    """The VM is protected by high availability; lift the protection first."""

    code = "VM_IS_PROTECTED"
    vm: str


@dataclass(eq=False)
class VMIsImmobile(ApiError):
    """The VM is set up so that it cannot move; shut it down instead."""

    code = "VM_IS_IMMOBILE"
    vm: str


@dataclass(eq=False)
class VMHVMRequired(ApiError):
    """The VM needs hardware virtualisation, which the host has not.

    Switch it on, or boot the VM as PV.
    """

    code = "VM_HVM_REQUIRED"
    vm: str


@dataclass(eq=False)
class VMIncompatibleWithThisHost(ApiError):
    """The VM cannot run on this host, for the reason given; choose another host."""

    code = "VM_INCOMPATIBLE_WITH_THIS_HOST"
    vm: str
    host: str
    reason: str


@dataclass(eq=False)
class VMHostIncompatibleVersion(ApiError):
    """The VM last ran on a newer version than this host has; upgrade the host."""

    code = "VM_HOST_INCOMPATIBLE_VERSION"
    host: str
    vm: str


@dataclass(eq=False)
class VMHostIncompatibleVersionMigrate(ApiError):
    """The VM cannot move to a host with an older version; choose another host."""

    code = "VM_HOST_INCOMPATIBLE_VERSION_MIGRATE"
    host: str
    vm: str


@dataclass(eq=False)
class VMHostIncompatibleVirtualHardwarePlatformVersion(ApiError):
    """The host does not offer the virtual hardware that the VM needs; choose another host."""

    code = "VM_HOST_INCOMPATIBLE_VIRTUAL_HARDWARE_PLATFORM_VERSION"
    host: str
    host_versions: str
    vm: str
    vm_version: str


@dataclass(eq=False)
class VMRequiresGPU(ApiError):
    """The VM needs a GPU of this group, which the host has not; choose another host."""

    code = "VM_REQUIRES_GPU"
    vm: str
    gpu_group: str


@dataclass(eq=False)
class VMRequiresIOMMU(ApiError):
    """The VM needs an IOMMU, which the host has not switched on; switch it on."""

    code = "VM_REQUIRES_IOMMU"
    host: str


@dataclass(eq=False)
class VMRequiresNetwork(ApiError):
    """The VM needs a network that no host in question reaches; connect it."""

    code = "VM_REQUIRES_NETWORK"
    vm: str
    network: str


@dataclass(eq=False)
class VMRequiresSR(ApiError):
    """The VM needs a storage repository that the host cannot reach; plug its PBD."""

    code = "VM_REQUIRES_SR"
    vm: str
    sr: str


@dataclass(eq=False)
class VMRequiresVDI(ApiError):
    """The VM needs this disk to be there; attach it."""

    code = "VM_REQUIRES_VDI"
    vm: str
    vdi: str


@dataclass(eq=False)
class VMRequiresVGPU(ApiError):
    """The VM needs a virtual GPU that the host cannot give; choose another host."""

    code = "VM_REQUIRES_VGPU"
    vm: str
    gpu_group: str
    vgpu_type: str


@dataclass(eq=False)
class VMNotResidentHere(ApiError):
    """The VM does not run on this host; call the host where it runs."""

    code = "VM_NOT_RESIDENT_HERE"
    vm: str
    host: str


@dataclass(eq=False)
class VMCrashed(ApiError):
    """The VM crashed while the operation ran; look at its console."""

    code = "VM_CRASHED"
    vm: str


@dataclass(eq=False)
class VMHalted(ApiError):
    """The VM halted while the operation ran; start it and try again."""

    code = "VM_HALTED"
    vm: str


@dataclass(eq=False)
class VMRebooted(ApiError):
    """The VM rebooted while the operation ran; try again."""

    code = "VM_REBOOTED"
    vm: str


@dataclass(eq=False)
class VMShutdownTimeout(ApiError):
    """The guest did not shut down in the time allowed; use a hard shutdown if it hangs."""

    code = "VM_SHUTDOWN_TIMEOUT"
    vm: str
    timeout: str


@dataclass(eq=False)
class VMSuspendTimeout(ApiError):
    """The guest did not suspend in the time allowed; try again when it has less load."""

    code = "VM_SUSPEND_TIMEOUT"
    vm: str
    timeout: str


@dataclass(eq=False)
class VMFailedShutdownAcknowledgment(ApiError):
    """The guest did not take notice of the request to shut down; use a hard shutdown."""

    code = "VM_FAILED_SHUTDOWN_ACKNOWLEDGMENT"
    vm: str


@dataclass(eq=False)
class VMFailedSuspendAcknowledgment(ApiError):
    """The guest did not take notice of the request to suspend; check its drivers."""

    code = "VM_FAILED_SUSPEND_ACKNOWLEDGMENT"
    vm: str


@dataclass(eq=False)
class VMMissingPVDrivers(ApiError):
    """The guest has no paravirtual drivers running; install them."""

    code = "VM_MISSING_PV_DRIVERS"
    vm: str


@dataclass(eq=False)
class VMOldPVDrivers(ApiError):
    """The paravirtual drivers of the guest are too old; update them."""

    code = "VM_OLD_PV_DRIVERS"
    vm: str
    major: str
    minor: str


@dataclass(eq=False)
class VMLacksFeature(ApiError):
    """The guest does not offer what the operation needs; update its drivers."""

    code = "VM_LACKS_FEATURE"
    vm: str


@dataclass(eq=False)
class VMNonSuspendable(ApiError):
    """The VM cannot be suspended, for the reason given; shut it down instead."""

    code = "VM_NON_SUSPENDABLE"
    vm: str
    reason: str


@dataclass(eq=False)
class VMNoSuspendSR(ApiError):
    """There is no storage repository for the saved state.

    Set suspend_image_SR of the pool or the host.
    """

    code = "VM_NO_SUSPEND_SR"
    vm: str


@dataclass(eq=False)
class VMHasNoSuspendVDI(ApiError):
    """The VM has no saved state to resume from; reset its power state and start it."""

    code = "VM_HAS_NO_SUSPEND_VDI"
    vm: str


@dataclass(eq=False)
class VMNoCrashdumpSR(ApiError):
    """There is no storage repository for crash dumps; set crash_dump_SR of the pool or the host."""

    code = "VM_NO_CRASHDUMP_SR"
    vm: str


@dataclass(eq=False)
class VMNoEmptyCDVBD(ApiError):
    """The VM has no empty CD drive; eject a disc or add a drive."""

    code = "VM_NO_EMPTY_CD_VBD"
    vm: str


@dataclass(eq=False)
class VMNoVCPUs(ApiError):
    """The VM has no vCPUs; set VCPUs_max to at least 1."""

    code = "VM_NO_VCPUS"
    vm: str


@dataclass(eq=False)
class VMTooManyVCPUs(ApiError):
    """The VM has more vCPUs than Xen allows; give it fewer."""

    code = "VM_TOO_MANY_VCPUS"
    vm: str


@dataclass(eq=False)
class VMMemorySizeTooLow(ApiError):
    """The VM has too little memory to be started; give it more."""

    code = "VM_MEMORY_SIZE_TOO_LOW"
    vm: str


@dataclass(eq=False)
class VMMemoryTargetWaitTimeout(ApiError):
    """The guest did not reach its memory target in time; check its balloon driver."""

    code = "VM_MEMORY_TARGET_WAIT_TIMEOUT"
    vm: str


@dataclass(eq=False)
class VMDuplicateVBDDevice(ApiError):
    """Two disks of the VM claim the same device; change one of them."""

    code = "VM_DUPLICATE_VBD_DEVICE"
    vm: str
    vbd: str
    device: str


@dataclass(eq=False)
class VMHasPCIAttached(ApiError):
    """The VM has a PCI device passed through; detach it first."""

    code = "VM_HAS_PCI_ATTACHED"
    vm: str


@dataclass(eq=False)
class VMPCIBusFull(ApiError):
    """The VM has no free slot for another PCI device; detach one first."""

    code = "VM_PCI_BUS_FULL"
    vm: str


@dataclass(eq=False)
class VMCannotDeleteDefaultTemplate(ApiError):
    """The template came with the server and cannot be removed."""

    code = "VM_CANNOT_DELETE_DEFAULT_TEMPLATE"
    vm: str


@dataclass(eq=False)
class VMMigrateFailed(ApiError):
    """The VM could not be moved; the message says why, and it stays where it was."""

    code = "VM_MIGRATE_FAILED"
    vm: str
    source: str
    destination: str
    msg: str


@dataclass(eq=False)
class VMUnsafeBoot(ApiError):
    """Starting the VM now could harm its disks; make sure that it runs nowhere else."""

    code = "VM_UNSAFE_BOOT"
    vm: str


@dataclass(eq=False)
class VMToImportIsNotNewerVersion(ApiError):
    """A VM with this identity and the same or a newer version exists; import it as a new one."""

    code = "VM_TO_IMPORT_IS_NOT_NEWER_VERSION"
    vm: str
    existing_version: str
    version_to_import: str


@dataclass(eq=False)
class DuplicateVM(ApiError):
    """A VM with this identity exists already; import it as a new one."""

    code = "DUPLICATE_VM"
    vm: str


@dataclass(eq=False)
class VMsFailedToCooperate(ApiError):
    """The VMs did not give back enough memory in time; stop one of them."""

    code = "VMS_FAILED_TO_COOPERATE"


@dataclass(eq=False)
class CannotResetControlDomain(ApiError):
    """The power state of the control domain cannot be reset; choose another VM."""

    code = "CANNOT_RESET_CONTROL_DOMAIN"
    vm: str


@dataclass(eq=False)
class BootloaderFailed(ApiError):
    """The bootloader of the VM failed; the message says why."""

    code = "BOOTLOADER_FAILED"
    vm: str
    msg: str


@dataclass(eq=False)
class UnknownBootloader(ApiError):
    """The bootloader is not one that this host supports; see supported_bootloaders of the host."""

    code = "UNKNOWN_BOOTLOADER"
    vm: str
    bootloader: str


@dataclass(eq=False)
class ProvisionOnlyAllowedOnTemplate(ApiError):
    """Only a VM made from a template can be provisioned; clone a template first."""

    code = "PROVISION_ONLY_ALLOWED_ON_TEMPLATE"


@dataclass(eq=False)
class ProvisionFailedOutOfSpace(ApiError):
    """There was no room for the disks of the VM; free some or choose another storage repository."""

    code = "PROVISION_FAILED_OUT_OF_SPACE"


@dataclass(eq=False)
class MemoryConstraintViolation(ApiError):
    """The memory limits must rise from static minimum to static maximum; correct the one named."""

    code = "MEMORY_CONSTRAINT_VIOLATION"
    constraint: str


@dataclass(eq=False)
class MemoryConstraintViolationOrder(ApiError):
    """The memory limits must rise from static minimum to static maximum; correct their order."""

    code = "MEMORY_CONSTRAINT_VIOLATION_ORDER"


@dataclass(eq=False)
class BallooningDisabled(ApiError):
    """The memory of guests cannot be changed while they run on this host.

    Shut the VM down first.
    """

    code = "BALLOONING_DISABLED"


# Storage repositories


@dataclass(eq=False)
class SRAttached(ApiError):
    """The storage repository is attached; unplug its PBDs first."""

    code = "SR_ATTACHED"
    sr: str


@dataclass(eq=False)
class SRAttachFailed(ApiError):
    """The storage repository could not be attached; check its device configuration."""

    code = "SR_ATTACH_FAILED"
    sr: str


@dataclass(eq=False)
class SRBackendFailure(ApiError):
    """The storage backend failed; its output says why."""

    code = "SR_BACKEND_FAILURE"
    status: str
    stdout: str
    stderr: str


@dataclass(eq=False)
class SRDeviceInUse(ApiError):
    """The device is in use by another storage repository; choose another device."""

    code = "SR_DEVICE_IN_USE"


@dataclass(eq=False)
class SRFull(ApiError):
    """The storage repository has less room than was asked for, both given in bytes.

    Free some or choose another.
    """

    code = "SR_FULL"
    requested: int
    maximum: int


@dataclass(eq=False)
class SRHasMultiplePBDs(ApiError):
    """The storage repository has several PBDs; remove all but one first."""

    code = "SR_HAS_MULTIPLE_PBDS"
    pbd: str


@dataclass(eq=False)
class SRHasNoPBDs(ApiError):
    """The storage repository has no plugged PBD; create and plug one first."""

    code = "SR_HAS_NO_PBDS"
    sr: str


@dataclass(eq=False)
class SRHasPBD(ApiError):
    """The storage repository still has a plugged PBD; unplug it first."""

    code = "SR_HAS_PBD"
    sr: str


@dataclass(eq=False)
class SRIndestructible(ApiError):
    """The storage repository is marked as not to be destroyed; clear the mark first."""

    code = "SR_INDESTRUCTIBLE"
    sr: str


@dataclass(eq=False)
class SRNotAttached(ApiError):
    """The storage repository is not attached; plug its PBD first."""

    code = "SR_NOT_ATTACHED"
    sr: str


@dataclass(eq=False)
class SRNotEmpty(ApiError):
    """The storage repository still holds disks; destroy or move them first."""

    code = "SR_NOT_EMPTY"


@dataclass(eq=False)
class SRNotSharable(ApiError):
    """The storage repository cannot be shared between hosts; use it on one only."""

    code = "SR_NOT_SHARABLE"
    sr: str
    host: str


@dataclass(eq=False)
class SRNotShared(ApiError):
    """The storage repository is not shared; use one that is."""

    code = "SR_NOT_SHARED"
    sr: str


@dataclass(eq=False)
class SROperationNotSupported(ApiError):
    """The type of the storage repository does not have this operation; choose another type."""

    code = "SR_OPERATION_NOT_SUPPORTED"
    sr: str


@dataclass(eq=False)
class SRRequiresUpgrade(ApiError):
    """The storage repository has an old format; upgrade it first."""

    code = "SR_REQUIRES_UPGRADE"
    sr: str


@dataclass(eq=False)
class SRSourceSpaceInsufficient(ApiError):
    """The storage repository has too little room for the copy; free some."""

    code = "SR_SOURCE_SPACE_INSUFFICIENT"
    sr: str


@dataclass(eq=False)
class SRSuspendSpaceInsufficient(ApiError):
    """The storage repository has too little room for the saved state; free some."""

    code = "SR_SUSPEND_SPACE_INSUFFICIENT"
    sr: str


@dataclass(eq=False)
class SRUnknownDriver(ApiError):
    """There is no driver for this type of storage repository; see SR.get_supported_types."""

    code = "SR_UNKNOWN_DRIVER"
    driver: str


@dataclass(eq=False)
class SRUUIDExists(ApiError):
    """A storage repository with this UUID is known already; forget it first."""

    code = "SR_UUID_EXISTS"
    uuid: str


@dataclass(eq=False)
class SRVDILockingFailed(ApiError):
    """The lock of a disk could not be taken; try again."""

    code = "SR_VDI_LOCKING_FAILED"


@dataclass(eq=False)
class DefaultSRNotFound(ApiError):
    """The pool has no default storage repository; set default_SR of the pool."""

    code = "DEFAULT_SR_NOT_FOUND"
    sr: str


@dataclass(eq=False)
class NoLocalStorage(ApiError):
    """The host has no local storage repository; create one."""

    code = "NO_LOCAL_STORAGE"
    host: str


@dataclass(eq=False)
class SMPluginCommunicationFailure(ApiError):
    """The storage driver did not answer; its log says why."""

    code = "SM_PLUGIN_COMMUNICATION_FAILURE"
    sm: str


@dataclass(eq=False)
class UnimplementedInSMBackend(ApiError):
    """The storage driver does not have this function; choose another type of storage repository."""

    code = "UNIMPLEMENTED_IN_SM_BACKEND"
    message: str


@dataclass(eq=False)
class LocationNotUnique(ApiError):
    """A disk at this location is known already; use its record."""

    code = "LOCATION_NOT_UNIQUE"
    sr: str
    location: str


@dataclass(eq=False)
class OutOfSpace(ApiError):
    """There is no room left at this location; free some."""

    code = "OUT_OF_SPACE"
    location: str


@dataclass(eq=False)
class PBDExists(ApiError):
    """The host has a PBD for this storage repository already; use that one."""

    code = "PBD_EXISTS"
    sr: str
    host: str
    pbd: str


# Disks and drives


@dataclass(eq=False)
class VDIContentIDMissing(ApiError):
    """The contents of the disk carry no identity; copy the whole disk."""

    code = "VDI_CONTENT_ID_MISSING"
    vdi: str


@dataclass(eq=False)
class VDICopyFailed(ApiError):
    """The disk could not be copied; check the space and the health of both sides."""

    code = "VDI_COPY_FAILED"


@dataclass(eq=False)
class VDIIncompatibleType(ApiError):
    """The operation does not go with disks of this type; choose another disk."""

    code = "VDI_INCOMPATIBLE_TYPE"
    vdi: str
    type: str


@dataclass(eq=False)
class VDIInUse(ApiError):
    """The disk is in use by another operation or VM; wait, or detach it first."""

    code = "VDI_IN_USE"
    vdi: str
    operation: str


@dataclass(eq=False)
class VDIIOError(ApiError):
    """Reading or writing the disk failed; check the storage beneath it."""

    code = "VDI_IO_ERROR"
    vdi: str


@dataclass(eq=False)
class VDIIsAPhysicalDevice(ApiError):
    """The disk is a physical device, so this cannot be done with it."""

    code = "VDI_IS_A_PHYSICAL_DEVICE"
    vdi: str


@dataclass(eq=False)
class VDIIsNotISO(ApiError):
    """The disk is not an ISO image; choose one that is."""

    code = "VDI_IS_NOT_ISO"
    vdi: str
    type: str


@dataclass(eq=False)
class VDIIsSharable(ApiError):
    """The disk is meant to be shared, so this cannot be done with it."""

    code = "VDI_IS_SHARABLE"
    vdi: str


@dataclass(eq=False)
class VDILocationMissing(ApiError):
    """There is nothing at this location of the storage repository; check the location."""

    code = "VDI_LOCATION_MISSING"
    sr: str
    location: str


@dataclass(eq=False)
class VDIMissing(ApiError):
    """The storage behind the disk is gone; scan the repository and check its backend."""

    code = "VDI_MISSING"
    sr: str
    vdi: str


@dataclass(eq=False)
class VDINeedsVMForMigrate(ApiError):
    """The disk can only move together with its VM; move the VM."""

    code = "VDI_NEEDS_VM_FOR_MIGRATE"
    vdi: str


@dataclass(eq=False)
class VDINotAvailable(ApiError):
    """The disk is not available now, as it is in use elsewhere; try again later."""

    code = "VDI_NOT_AVAILABLE"
    vdi: str


@dataclass(eq=False)
class VDINotInMap(ApiError):
    """The mapping names no target for this disk; add one."""

    code = "VDI_NOT_IN_MAP"
    vdi: str


@dataclass(eq=False)
class VDINotManaged(ApiError):
    """The disk is kept by the backend for itself; use the disks that depend on it."""

    code = "VDI_NOT_MANAGED"
    vdi: str


@dataclass(eq=False)
class VDINotSparse(ApiError):
    """The disk is not sparse, so its changes cannot be copied alone; copy the whole disk."""

    code = "VDI_NOT_SPARSE"
    vdi: str


@dataclass(eq=False)
class VDIReadonly(ApiError):
    """The disk is read-only, and it would have to be written to; choose another."""

    code = "VDI_READONLY"
    vdi: str


@dataclass(eq=False)
class VDITooLarge(ApiError):
    """The disk is larger than is possible here; choose a smaller size."""

    code = "VDI_TOO_LARGE"
    vdi: str
    maximum_size: int


@dataclass(eq=False)
class VDITooSmall(ApiError):
    """The disk is smaller than is needed here; choose a larger size."""

    code = "VDI_TOO_SMALL"
    vdi: str
    minimum_size: int


@dataclass(eq=False)
class VBDCDsMustBeReadonly(ApiError):
    """A CD drive must be read-only; set its mode to RO."""

    code = "VBD_CDS_MUST_BE_READONLY"


@dataclass(eq=False)
class VBDIsEmpty(ApiError):
    """The drive is empty; insert a disc first."""

    code = "VBD_IS_EMPTY"
    vbd: str


@dataclass(eq=False)
class VBDMissing(ApiError):
    """The VM has no such drive; add it first."""

    code = "VBD_MISSING"
    vm: str


@dataclass(eq=False)
class VBDNotEmpty(ApiError):
    """The drive holds a disc; eject it first."""

    code = "VBD_NOT_EMPTY"
    vbd: str


@dataclass(eq=False)
class VBDNotRemovableMedia(ApiError):
    """The device is a disk and not a drive; plug and unplug it instead."""

    code = "VBD_NOT_REMOVABLE_MEDIA"
    vbd: str


@dataclass(eq=False)
class VBDNotUnpluggable(ApiError):
    """The device is marked as not to be unplugged; shut the VM down first."""

    code = "VBD_NOT_UNPLUGGABLE"
    vbd: str


@dataclass(eq=False)
class VBDTrayLocked(ApiError):
    """The guest has locked the tray of the drive; eject the disc inside the guest."""

    code = "VBD_TRAY_LOCKED"
    vbd: str


@dataclass(eq=False)
class DiskVBDMustBeReadwriteForHVM(ApiError):
    """An HVM guest needs its disks writable; set the mode to RW."""

    code = "DISK_VBD_MUST_BE_READWRITE_FOR_HVM"
    vbd: str


@dataclass(eq=False)
class DeviceAlreadyAttached(ApiError):
    """The device is attached already; nothing needs to be done."""

    code = "DEVICE_ALREADY_ATTACHED"
    device: str


@dataclass(eq=False)
class DeviceAlreadyDetached(ApiError):
    """The device is detached already; nothing needs to be done."""

    code = "DEVICE_ALREADY_DETACHED"
    device: str


@dataclass(eq=False)
class DeviceAlreadyExists(ApiError):
    """The VM has a device of this name already; choose another name."""

    code = "DEVICE_ALREADY_EXISTS"
    device: str


@dataclass(eq=False)
class DeviceAttachTimeout(ApiError):
    """The device did not connect in the time allowed; check the driver in the guest."""

    code = "DEVICE_ATTACH_TIMEOUT"
    type: str
    ref: str


@dataclass(eq=False)
class DeviceDetachTimeout(ApiError):
    """The guest did not let go of the device in the time allowed; stop using it there first."""

    code = "DEVICE_DETACH_TIMEOUT"
    type: str
    ref: str


@dataclass(eq=False)
class DeviceDetachRejected(ApiError):
    """The guest refused to let go of the device; stop using it there first."""

    code = "DEVICE_DETACH_REJECTED"
    type: str
    ref: str
    msg: str


@dataclass(eq=False)
class DeviceNotAttached(ApiError):
    """The device is not attached; plug it first."""

    code = "DEVICE_NOT_ATTACHED"
    vbd: str


@dataclass(eq=False)
class IllegalVBDDevice(ApiError):
    """The device name is not possible for this VM; see VM.get_allowed_VBD_devices."""

    code = "ILLEGAL_VBD_DEVICE"
    vbd: str
    device: str


@dataclass(eq=False)
class InvalidDevice(ApiError):
    """The device name is not possible; see the devices that the VM allows."""

    code = "INVALID_DEVICE"
    device: str


@dataclass(eq=False)
class SuspendImageNotAccessible(ApiError):
    """The saved state of the VM cannot be reached from this host; plug its storage repository."""

    code = "SUSPEND_IMAGE_NOT_ACCESSIBLE"
    vdi: str


@dataclass(eq=False)
class SuspendVDIReplacementIsNotIdentical(ApiError):
    """The other disk holds another saved state; give an exact copy."""

    code = "SUSPEND_VDI_REPLACEMENT_IS_NOT_IDENTICAL"
    vdi: str


# Networks


@dataclass(eq=False)
class BridgeNameExists(ApiError):
    """A network with this bridge exists already; choose another name."""

    code = "BRIDGE_NAME_EXISTS"
    bridge: str


@dataclass(eq=False)
class BridgeNotAvailable(ApiError):
    """The bridge is not there; create it or choose another."""

    code = "BRIDGE_NOT_AVAILABLE"
    bridge: str


@dataclass(eq=False)
class CannotDestroySystemNetwork(ApiError):
    """The network belongs to the system and must stay."""

    code = "CANNOT_DESTROY_SYSTEM_NETWORK"
    network: str


@dataclass(eq=False)
class CannotPlugVIF(ApiError):
    """The interface cannot be plugged; check its network."""

    code = "CANNOT_PLUG_VIF"
    vif: str


@dataclass(eq=False)
class CannotAddVLANToBondSlave(ApiError):
    """The interface is part of a bond; put the VLAN on the bond."""

    code = "CANNOT_ADD_VLAN_TO_BOND_SLAVE"
    pif: str


@dataclass(eq=False)
class CannotPlugBondSlave(ApiError):
    """The interface is part of a bond; plug the bond."""

    code = "CANNOT_PLUG_BOND_SLAVE"
    pif: str


@dataclass(eq=False)
class CannotChangePIFProperties(ApiError):
    """The properties of this interface cannot be changed here; change those of its master."""

    code = "CANNOT_CHANGE_PIF_PROPERTIES"
    pif: str


@dataclass(eq=False)
class CouldNotFindNetworkInterfaceWithSpecifiedDeviceNameAndMACAddress(ApiError):
    """The host has no interface of this name and MAC address.

    Scan for the interfaces that there are.
    """

    code = "COULD_NOT_FIND_NETWORK_INTERFACE_WITH_SPECIFIED_DEVICE_NAME_AND_MAC_ADDRESS"
    device: str
    mac: str


@dataclass(eq=False)
class DuplicatePIFDeviceName(ApiError):
    """Another interface has this device name; choose another."""

    code = "DUPLICATE_PIF_DEVICE_NAME"
    device: str


@dataclass(eq=False)
class IncompatiblePIFProperties(ApiError):
    """The interfaces have properties that do not go together in a bond; make them alike."""

    code = "INCOMPATIBLE_PIF_PROPERTIES"


@dataclass(eq=False)
class InvalidIPAddressSpecified(ApiError):
    """The parameter is not a valid IP address; correct it."""

    code = "INVALID_IP_ADDRESS_SPECIFIED"
    parameter: str


@dataclass(eq=False)
class InvalidCIDRAddressSpecified(ApiError):
    """The parameter is not a valid address with a prefix length; correct it."""

    code = "INVALID_CIDR_ADDRESS_SPECIFIED"
    parameter: str


@dataclass(eq=False)
class MACDoesNotExist(ApiError):
    """The host has no interface with this MAC address; check it."""

    code = "MAC_DOES_NOT_EXIST"
    mac: str


@dataclass(eq=False)
class MACInvalid(ApiError):
    """The MAC address is not valid.

    Give six pairs of hexadecimal digits, not a multicast address.
    """

    code = "MAC_INVALID"
    mac: str


@dataclass(eq=False)
class MACStillExists(ApiError):
    """An interface with this MAC address is still there; remove it first."""

    code = "MAC_STILL_EXISTS"
    mac: str


@dataclass(eq=False)
class NetworkAlreadyConnected(ApiError):
    """The host is connected to this network through another interface.

    Disconnect that one first.
    """

    code = "NETWORK_ALREADY_CONNECTED"
    network: str
    connected_pif: str


@dataclass(eq=False)
class NetworkContainsPIF(ApiError):
    """The network still has physical interfaces; remove them first."""

    code = "NETWORK_CONTAINS_PIF"
    pifs: str


@dataclass(eq=False)
class NetworkContainsVIF(ApiError):
    """The network still has virtual interfaces; remove them first."""

    code = "NETWORK_CONTAINS_VIF"
    vifs: str


@dataclass(eq=False)
class NetworkIncompatibleWithBond(ApiError):
    """The network cannot carry a bond; choose another."""

    code = "NETWORK_INCOMPATIBLE_WITH_BOND"
    network: str


@dataclass(eq=False)
class NetworkSRIOVInsufficientCapacity(ApiError):
    """The network has no virtual function left; free one."""

    code = "NETWORK_SRIOV_INSUFFICIENT_CAPACITY"
    network: str


@dataclass(eq=False)
class NetworkUnmanaged(ApiError):
    """The network is not managed by this server; change it where it is managed."""

    code = "NETWORK_UNMANAGED"
    network: str


@dataclass(eq=False)
class PIFAlreadyBonded(ApiError):
    """The interface is part of a bond already; destroy that bond first."""

    code = "PIF_ALREADY_BONDED"
    pif: str


@dataclass(eq=False)
class PIFBondMoreThanOneIP(ApiError):
    """Only one member of a bond may have an address; remove the others."""

    code = "PIF_BOND_MORE_THAN_ONE_IP"


@dataclass(eq=False)
class PIFBondNeedsMoreMembers(ApiError):
    """A bond needs at least two members; name more."""

    code = "PIF_BOND_NEEDS_MORE_MEMBERS"


@dataclass(eq=False)
class PIFCannotBondCrossHost(ApiError):
    """All members of a bond must be on one host; choose others."""

    code = "PIF_CANNOT_BOND_CROSS_HOST"


@dataclass(eq=False)
class PIFConfigurationError(ApiError):
    """The interface could not be configured; the message says why."""

    code = "PIF_CONFIGURATION_ERROR"
    pif: str
    msg: str


@dataclass(eq=False)
class PIFDeviceNotFound(ApiError):
    """The host has no such device; scan for the interfaces that there are."""

    code = "PIF_DEVICE_NOT_FOUND"


@dataclass(eq=False)
class PIFDoesNotAllowUnplug(ApiError):
    """The interface must stay plugged; allow unplugging first."""

    code = "PIF_DOES_NOT_ALLOW_UNPLUG"
    pif: str


@dataclass(eq=False)
class PIFHasFCOESRInUse(ApiError):
    """Storage is reached through this interface; unplug that storage first."""

    code = "PIF_HAS_FCOE_SR_IN_USE"
    pif: str
    sr: str


@dataclass(eq=False)
class PIFHasNoNetworkConfiguration(ApiError):
    """The interface has no address configuration; call PIF.reconfigure_ip first."""

    code = "PIF_HAS_NO_NETWORK_CONFIGURATION"
    pif: str


@dataclass(eq=False)
class PIFIsManagementInterface(ApiError):
    """The interface is the management interface; move management elsewhere first."""

    code = "PIF_IS_MANAGEMENT_INTERFACE"
    pif: str


@dataclass(eq=False)
class PIFIsNotPhysical(ApiError):
    """The interface is not a physical one; choose one that is."""

    code = "PIF_IS_NOT_PHYSICAL"
    pif: str


@dataclass(eq=False)
class PIFIsPhysical(ApiError):
    """The interface is a physical one and cannot be destroyed; forget it instead."""

    code = "PIF_IS_PHYSICAL"
    pif: str


@dataclass(eq=False)
class PIFIsVLAN(ApiError):
    """The interface is a VLAN; use the one beneath it."""

    code = "PIF_IS_VLAN"
    pif: str


@dataclass(eq=False)
class PIFNotAttachedToHost(ApiError):
    """The interface is not on this host; choose one that is."""

    code = "PIF_NOT_ATTACHED_TO_HOST"
    pif: str
    host: str


@dataclass(eq=False)
class PIFNotPresent(ApiError):
    """The host has no interface on this network; create one."""

    code = "PIF_NOT_PRESENT"
    host: str
    network: str


@dataclass(eq=False)
class PIFTunnelStillExists(ApiError):
    """A tunnel uses the interface; remove the tunnel first."""

    code = "PIF_TUNNEL_STILL_EXISTS"
    pif: str


@dataclass(eq=False)
class PIFUnmanaged(ApiError):
    """The interface is not managed by this server; change it where it is managed."""

    code = "PIF_UNMANAGED"
    pif: str


@dataclass(eq=False)
class PIFVLANExists(ApiError):
    """The interface carries this VLAN already; use that one."""

    code = "PIF_VLAN_EXISTS"
    pif: str


@dataclass(eq=False)
class PIFVLANStillExists(ApiError):
    """A VLAN uses the interface; destroy the VLAN first."""

    code = "PIF_VLAN_STILL_EXISTS"
    pif: str


@dataclass(eq=False)
class RequiredPIFIsUnplugged(ApiError):
    """An interface that this one needs is unplugged; plug it first."""

    code = "REQUIRED_PIF_IS_UNPLUGGED"
    pif: str


@dataclass(eq=False)
class TransportPIFNotConfigured(ApiError):
    """The interface that carries this one has no address; configure it first."""

    code = "TRANSPORT_PIF_NOT_CONFIGURED"
    pif: str


@dataclass(eq=False)
class VIFInUse(ApiError):
    """A VM uses the network through this interface; unplug it first."""

    code = "VIF_IN_USE"
    network: str
    vif: str


@dataclass(eq=False)
class VIFNotInMap(ApiError):
    """The mapping names no target network for this interface; add one."""

    code = "VIF_NOT_IN_MAP"
    vif: str


@dataclass(eq=False)
class VLANInUse(ApiError):
    """The device carries this VLAN already; choose another tag."""

    code = "VLAN_IN_USE"
    device: str
    vlan: str


@dataclass(eq=False)
class VLANTagInvalid(ApiError):
    """The VLAN tag is out of range; give a number from 0 to 4094."""

    code = "VLAN_TAG_INVALID"
    vlan: str


# Exports and imports


@dataclass(eq=False)
class ImportFailed(ApiError):
    """The import failed; the message says why."""

    code = "IMPORT_ERROR"
    msg: str


@dataclass(eq=False)
class ImportErrorFailedToFindObject(ApiError):
    """The stream refers to an object that it does not contain; export the VM again."""

    code = "IMPORT_ERROR_FAILED_TO_FIND_OBJECT"
    id: str


@dataclass(eq=False)
class ImportErrorPrematureEOF(ApiError):
    """The stream ended too early; send all of it."""

    code = "IMPORT_ERROR_PREMATURE_EOF"


@dataclass(eq=False)
class ImportErrorSomeChecksumsFailed(ApiError):
    """The stream was damaged on its way; send it again."""

    code = "IMPORT_ERROR_SOME_CHECKSUMS_FAILED"


@dataclass(eq=False)
class ImportIncompatibleVersion(ApiError):
    """The stream was made by a version that cannot be read here; upgrade this server."""

    code = "IMPORT_INCOMPATIBLE_VERSION"


BY_CODE: dict[str, type[ApiError]] = {error.code: error for error in ApiError.__subclasses__()}
