"""Field numbers of the protobuf messages that kubectl sends, from Kubernetes' `generated.proto`.

One line per field: `number name kind`. A kind is a scalar, a message, `[]kind` for repeated and
`{}kind` for maps with string keys; `0` after it drops a zero, as fields do that are no pointers in
Go; `inline` puts the members into the parent, as embedded structures are in JSON.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(slots=True, frozen=True)
class Field:
    """One field of a message."""

    name: str
    kind: str
    is_repeated: bool
    is_map: bool
    drops_zero: bool
    is_inline: bool


_TABLES: Final = """
Unknown: 1 typeMeta TypeMeta | 2 raw bytes | 3 contentEncoding string | 4 contentType string
TypeMeta: 1 apiVersion string | 2 kind string
ObjectMeta: 1 name string | 2 generateName string | 3 namespace string | 4 selfLink string |
  5 uid string | 6 resourceVersion string | 7 generation int 0 | 8 creationTimestamp Time |
  9 deletionTimestamp Time | 10 deletionGracePeriodSeconds int | 11 labels {}string |
  12 annotations {}string | 13 ownerReferences []OwnerReference | 14 finalizers []string
OwnerReference: 1 kind string | 3 name string | 4 uid string | 5 apiVersion string |
  6 controller bool | 7 blockOwnerDeletion bool
Empty:
ObjectReference: 1 kind string | 2 namespace string | 3 name string | 4 uid string |
  5 apiVersion string | 6 resourceVersion string | 7 fieldPath string
LocalObjectReference: 1 name string
LabelSelector: 1 matchLabels {}string | 2 matchExpressions []LabelSelectorRequirement
LabelSelectorRequirement: 1 key string | 2 operator string | 3 values []string
Namespace: 1 metadata ObjectMeta | 2 spec NamespaceSpec | 3 status NamespaceStatus
NamespaceSpec: 1 finalizers []string
NamespaceStatus: 1 phase string
Secret: 1 metadata ObjectMeta | 2 data {}bytes | 3 type string | 4 stringData {}string |
  5 immutable bool
ConfigMap: 1 metadata ObjectMeta | 2 data {}string | 3 binaryData {}bytes | 4 immutable bool
ServiceAccount: 1 metadata ObjectMeta | 2 secrets []ObjectReference |
  3 imagePullSecrets []LocalObjectReference | 4 automountServiceAccountToken bool
Deployment: 1 metadata ObjectMeta | 2 spec DeploymentSpec | 3 status DeploymentStatus
DeploymentStatus: 1 replicas int 0 | 2 updatedReplicas int 0 | 3 observedGeneration int 0 |
  4 availableReplicas int 0 | 5 unavailableReplicas int 0 | 7 readyReplicas int 0
DeploymentSpec: 1 replicas int | 2 selector LabelSelector | 3 template PodTemplateSpec |
  4 strategy DeploymentStrategy | 5 minReadySeconds int 0 | 6 revisionHistoryLimit int |
  7 paused bool 0 | 9 progressDeadlineSeconds int
DeploymentStrategy: 1 type string | 2 rollingUpdate RollingUpdateDeployment
RollingUpdateDeployment: 1 maxUnavailable IntOrString | 2 maxSurge IntOrString
PodTemplateSpec: 1 metadata ObjectMeta | 2 spec PodSpec
PodSpec: 2 containers []Container | 3 restartPolicy string | 4 terminationGracePeriodSeconds int |
  5 activeDeadlineSeconds int | 6 dnsPolicy string | 7 nodeSelector {}string |
  8 serviceAccountName string | 9 serviceAccount string | 10 nodeName string |
  11 hostNetwork bool 0 | 12 hostPID bool 0 | 13 hostIPC bool 0 | 14 securityContext Empty |
  15 imagePullSecrets []LocalObjectReference | 16 hostname string | 17 subdomain string |
  19 schedulerName string | 20 initContainers []Container | 21 automountServiceAccountToken bool |
  24 priorityClassName string | 25 priority int
Container: 1 name string | 2 image string | 3 command []string | 4 args []string |
  5 workingDir string | 6 ports []ContainerPort | 7 env []EnvVar |
  8 resources ResourceRequirements | 13 terminationMessagePath string | 14 imagePullPolicy string |
  16 stdin bool 0 |
  17 stdinOnce bool 0 | 18 tty bool 0 | 20 terminationMessagePolicy string
ContainerPort: 1 name string | 2 hostPort int 0 | 3 containerPort int | 4 protocol string |
  5 hostIP string
EnvVar: 1 name string | 2 value string
ResourceRequirements: 1 limits {}Quantity | 2 requests {}Quantity
Job: 1 metadata ObjectMeta | 2 spec JobSpec | 3 status JobStatus
JobStatus: 4 active int 0 | 5 succeeded int 0 | 6 failed int 0 | 7 completedIndexes string |
  8 uncountedTerminatedPods Empty | 9 ready int
JobSpec: 1 parallelism int | 2 completions int | 3 activeDeadlineSeconds int |
  4 selector LabelSelector | 5 manualSelector bool | 6 template PodTemplateSpec |
  7 backoffLimit int | 8 ttlSecondsAfterFinished int | 9 completionMode string | 10 suspend bool
Service: 1 metadata ObjectMeta | 2 spec ServiceSpec | 3 status ServiceStatus
ServiceStatus: 1 loadBalancer Empty
ServiceSpec: 1 ports []ServicePort | 2 selector {}string | 3 clusterIP string | 4 type string |
  5 externalIPs []string | 7 sessionAffinity string | 8 loadBalancerIP string |
  9 loadBalancerSourceRanges []string | 10 externalName string | 11 externalTrafficPolicy string |
  12 healthCheckNodePort int 0 | 13 publishNotReadyAddresses bool 0 | 17 ipFamilyPolicy string |
  18 clusterIPs []string | 19 ipFamilies []string
ServicePort: 1 name string | 2 protocol string | 3 port int | 4 targetPort IntOrString |
  5 nodePort int 0 | 6 appProtocol string
Role: 1 metadata ObjectMeta | 2 rules []PolicyRule
ClusterRole: 1 metadata ObjectMeta | 2 rules []PolicyRule | 3 aggregationRule AggregationRule
AggregationRule: 1 clusterRoleSelectors []LabelSelector
PolicyRule: 1 verbs []string | 2 apiGroups []string | 3 resources []string |
  4 resourceNames []string | 5 nonResourceURLs []string
RoleBinding: 1 metadata ObjectMeta | 2 subjects []Subject | 3 roleRef RoleRef
Subject: 1 kind string | 2 apiGroup string | 3 name string | 4 namespace string
RoleRef: 1 apiGroup string | 2 kind string | 3 name string
Ingress: 1 metadata ObjectMeta | 2 spec IngressSpec | 3 status IngressStatus
IngressStatus: 1 loadBalancer Empty
IngressSpec: 1 defaultBackend IngressBackend | 2 tls []IngressTLS | 3 rules []IngressRule |
  4 ingressClassName string
IngressTLS: 1 hosts []string | 2 secretName string
IngressRule: 1 host string | 2 value IngressRuleValue inline
IngressRuleValue: 1 http HTTPIngressRuleValue
HTTPIngressRuleValue: 1 paths []HTTPIngressPath
HTTPIngressPath: 1 path string | 2 backend IngressBackend | 3 pathType string
IngressBackend: 4 service IngressServiceBackend
IngressServiceBackend: 1 name string | 2 port ServiceBackendPort
ServiceBackendPort: 1 name string | 2 number int 0
PriorityClass: 1 metadata ObjectMeta | 2 value int | 3 globalDefault bool 0 |
  4 description string | 5 preemptionPolicy string
HorizontalPodAutoscaler: 1 metadata ObjectMeta | 2 spec HorizontalPodAutoscalerSpec |
  3 status HorizontalPodAutoscalerStatus
HorizontalPodAutoscalerSpec: 1 scaleTargetRef CrossVersionObjectReference | 2 minReplicas int |
  3 maxReplicas int | 4 targetCPUUtilizationPercentage int
HorizontalPodAutoscalerStatus: 1 observedGeneration int | 3 currentReplicas int 0 |
  4 desiredReplicas int 0
CrossVersionObjectReference: 1 kind string | 2 name string | 3 apiVersion string
SelfSubjectAccessReview: 1 metadata ObjectMeta | 2 spec SelfSubjectAccessReviewSpec |
  3 status AccessReviewStatus
AccessReviewStatus: 1 allowed bool 0 | 2 reason string | 3 evaluationError string | 4 denied bool 0
SelfSubjectAccessReviewSpec: 1 resourceAttributes ResourceAttributes |
  2 nonResourceAttributes NonResourceAttributes
ResourceAttributes: 1 namespace string | 2 verb string | 3 group string | 4 version string |
  5 resource string | 6 subresource string | 7 name string
NonResourceAttributes: 1 path string | 2 verb string
SelfSubjectRulesReview: 1 metadata ObjectMeta | 2 spec SelfSubjectRulesReviewSpec |
  3 status SelfSubjectRulesReviewStatus
SelfSubjectRulesReviewSpec: 1 namespace string
SelfSubjectRulesReviewStatus: 1 resourceRules []PolicyRule | 2 nonResourceRules []PolicyRule |
  3 incomplete bool 0 | 4 evaluationError string
SelfSubjectReview: 1 metadata ObjectMeta | 2 status SelfSubjectReviewStatus
SelfSubjectReviewStatus: 1 userInfo UserInfo
UserInfo: 1 username string | 2 uid string | 3 groups []string
TokenRequest: 1 metadata ObjectMeta | 2 spec TokenRequestSpec | 3 status TokenRequestStatus
TokenRequestSpec: 1 audiences []string | 3 boundObjectRef BoundObjectReference |
  4 expirationSeconds int
TokenRequestStatus: 1 token string | 2 expirationTimestamp Time
BoundObjectReference: 1 kind string | 2 apiVersion string | 3 name string | 4 uid string
"""

_RBAC: Final = "rbac.authorization.k8s.io"
KINDS: Final = {
    ("", "v1", "Namespace"): "Namespace",
    ("", "v1", "Secret"): "Secret",
    ("", "v1", "ConfigMap"): "ConfigMap",
    ("", "v1", "ServiceAccount"): "ServiceAccount",
    ("", "v1", "Service"): "Service",
    ("apps", "v1", "Deployment"): "Deployment",
    ("batch", "v1", "Job"): "Job",
    ("autoscaling", "v1", "HorizontalPodAutoscaler"): "HorizontalPodAutoscaler",
    ("networking.k8s.io", "v1", "Ingress"): "Ingress",
    ("scheduling.k8s.io", "v1", "PriorityClass"): "PriorityClass",
    (_RBAC, "v1", "Role"): "Role",
    (_RBAC, "v1", "ClusterRole"): "ClusterRole",
    (_RBAC, "v1", "RoleBinding"): "RoleBinding",
    (_RBAC, "v1", "ClusterRoleBinding"): "RoleBinding",
    ("authorization.k8s.io", "v1", "SelfSubjectAccessReview"): "SelfSubjectAccessReview",
    ("authorization.k8s.io", "v1", "SelfSubjectRulesReview"): "SelfSubjectRulesReview",
    ("authentication.k8s.io", "v1", "SelfSubjectReview"): "SelfSubjectReview",
    ("authentication.k8s.io", "v1", "TokenRequest"): "TokenRequest",
}


def _field(line: str) -> tuple[int, Field]:
    number, name, kind, *flags = line.split()
    return int(number), Field(
        name=name,
        kind=kind.removeprefix("[]").removeprefix("{}"),
        is_repeated=kind.startswith("[]"),
        is_map=kind.startswith("{}"),
        drops_zero="0" in flags,
        is_inline="inline" in flags,
    )


def _parse() -> dict[str, dict[int, Field]]:
    messages = {}
    for entry in _TABLES.replace("\n  ", " ").strip().splitlines():
        name, _, fields = entry.partition(":")
        messages[name] = dict(_field(line) for line in fields.split("|") if line.strip())
    return messages


MESSAGES: Final = _parse()
