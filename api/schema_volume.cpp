// The tables of every volume source.
#include "api/volume.h"

#include "api/schema.h"

namespace keelson::api {

template <>
const Type& type_of<HostPathVolumeSource>() {
  static constexpr Field kFields[] = {
      field<&HostPathVolumeSource::path>(1, "path").needed(),
      field<&HostPathVolumeSource::type>(2, "type"),
  };
  static constexpr Type kType{"HostPathVolumeSource", kFields};
  return kType;
}

template <>
const Type& type_of<EmptyDirVolumeSource>() {
  static constexpr Field kFields[] = {
      field<&EmptyDirVolumeSource::medium>(1, "medium"),
      field<&EmptyDirVolumeSource::size_limit>(2, "sizeLimit"),
      field<&EmptyDirVolumeSource::mode>(3, "mode"),
  };
  static constexpr Type kType{"EmptyDirVolumeSource", kFields};
  return kType;
}

template <>
const Type& type_of<GCEPersistentDiskVolumeSource>() {
  static constexpr Field kFields[] = {
      field<&GCEPersistentDiskVolumeSource::pd_name>(1, "pdName").needed(),
      field<&GCEPersistentDiskVolumeSource::fs_type>(2, "fsType"),
      field<&GCEPersistentDiskVolumeSource::partition>(3, "partition").plain(),
      field<&GCEPersistentDiskVolumeSource::read_only>(4, "readOnly").plain(),
  };
  static constexpr Type kType{"GCEPersistentDiskVolumeSource", kFields};
  return kType;
}

template <>
const Type& type_of<AWSElasticBlockStoreVolumeSource>() {
  static constexpr Field kFields[] = {
      field<&AWSElasticBlockStoreVolumeSource::volume_id>(1, "volumeID").needed(),
      field<&AWSElasticBlockStoreVolumeSource::fs_type>(2, "fsType"),
      field<&AWSElasticBlockStoreVolumeSource::partition>(3, "partition").plain(),
      field<&AWSElasticBlockStoreVolumeSource::read_only>(4, "readOnly").plain(),
  };
  static constexpr Type kType{"AWSElasticBlockStoreVolumeSource", kFields};
  return kType;
}

template <>
const Type& type_of<GitRepoVolumeSource>() {
  static constexpr Field kFields[] = {
      field<&GitRepoVolumeSource::repository>(1, "repository").needed(),
      field<&GitRepoVolumeSource::revision>(2, "revision"),
      field<&GitRepoVolumeSource::directory>(3, "directory"),
  };
  static constexpr Type kType{"GitRepoVolumeSource", kFields};
  return kType;
}

template <>
const Type& type_of<KeyToPath>() {
  static constexpr Field kFields[] = {
      field<&KeyToPath::key>(1, "key").needed(),
      field<&KeyToPath::path>(2, "path").needed(),
      field<&KeyToPath::mode>(3, "mode"),
      field<&KeyToPath::user>(4, "user"),
  };
  static constexpr Type kType{"KeyToPath", kFields};
  return kType;
}

template <>
const Type& type_of<SecretVolumeSource>() {
  static constexpr Field kFields[] = {
      field<&SecretVolumeSource::secret_name>(1, "secretName"),
      field<&SecretVolumeSource::items>(2, "items").atomic(),
      field<&SecretVolumeSource::default_mode>(3, "defaultMode"),
      field<&SecretVolumeSource::optional>(4, "optional"),
      field<&SecretVolumeSource::default_user>(5, "defaultUser"),
  };
  static constexpr Type kType{"SecretVolumeSource", kFields};
  return kType;
}

template <>
const Type& type_of<NFSVolumeSource>() {
  static constexpr Field kFields[] = {
      field<&NFSVolumeSource::server>(1, "server").needed(),
      field<&NFSVolumeSource::path>(2, "path").needed(),
      field<&NFSVolumeSource::read_only>(3, "readOnly").plain(),
  };
  static constexpr Type kType{"NFSVolumeSource", kFields};
  return kType;
}

template <>
const Type& type_of<ISCSIVolumeSource>() {
  static constexpr Field kFields[] = {
      field<&ISCSIVolumeSource::target_portal>(1, "targetPortal").needed(),
      field<&ISCSIVolumeSource::iqn>(2, "iqn").needed(),
      field<&ISCSIVolumeSource::lun>(3, "lun").needed(),
      field<&ISCSIVolumeSource::iscsi_interface>(4, "iscsiInterface"),
      field<&ISCSIVolumeSource::fs_type>(5, "fsType"),
      field<&ISCSIVolumeSource::read_only>(6, "readOnly").plain(),
      field<&ISCSIVolumeSource::portals>(7, "portals").atomic(),
      field<&ISCSIVolumeSource::chap_auth_discovery>(8, "chapAuthDiscovery").plain(),
      field<&ISCSIVolumeSource::chap_auth_session>(11, "chapAuthSession").plain(),
      field<&ISCSIVolumeSource::secret_ref>(10, "secretRef"),
      field<&ISCSIVolumeSource::initiator_name>(12, "initiatorName"),
  };
  static constexpr Type kType{"ISCSIVolumeSource", kFields};
  return kType;
}

template <>
const Type& type_of<GlusterfsVolumeSource>() {
  static constexpr Field kFields[] = {
      field<&GlusterfsVolumeSource::endpoints>(1, "endpoints").needed(),
      field<&GlusterfsVolumeSource::path>(2, "path").needed(),
      field<&GlusterfsVolumeSource::read_only>(3, "readOnly").plain(),
  };
  static constexpr Type kType{"GlusterfsVolumeSource", kFields};
  return kType;
}

template <>
const Type& type_of<PersistentVolumeClaimVolumeSource>() {
  static constexpr Field kFields[] = {
      field<&PersistentVolumeClaimVolumeSource::claim_name>(1, "claimName").needed(),
      field<&PersistentVolumeClaimVolumeSource::read_only>(2, "readOnly").plain(),
  };
  static constexpr Type kType{"PersistentVolumeClaimVolumeSource", kFields};
  return kType;
}

template <>
const Type& type_of<RBDVolumeSource>() {
  static constexpr Field kFields[] = {
      field<&RBDVolumeSource::monitors>(1, "monitors").needed().atomic(),
      field<&RBDVolumeSource::image>(2, "image").needed(),
      field<&RBDVolumeSource::fs_type>(3, "fsType"),
      field<&RBDVolumeSource::pool>(4, "pool"),
      field<&RBDVolumeSource::user>(5, "user"),
      field<&RBDVolumeSource::keyring>(6, "keyring"),
      field<&RBDVolumeSource::secret_ref>(7, "secretRef"),
      field<&RBDVolumeSource::read_only>(8, "readOnly").plain(),
  };
  static constexpr Type kType{"RBDVolumeSource", kFields};
  return kType;
}

template <>
const Type& type_of<FlexVolumeSource>() {
  static constexpr Field kFields[] = {
      field<&FlexVolumeSource::driver>(1, "driver").needed(),
      field<&FlexVolumeSource::fs_type>(2, "fsType"),
      field<&FlexVolumeSource::secret_ref>(3, "secretRef"),
      field<&FlexVolumeSource::read_only>(4, "readOnly").plain(),
      field<&FlexVolumeSource::options>(5, "options"),
  };
  static constexpr Type kType{"FlexVolumeSource", kFields};
  return kType;
}

template <>
const Type& type_of<CinderVolumeSource>() {
  static constexpr Field kFields[] = {
      field<&CinderVolumeSource::volume_id>(1, "volumeID").needed(),
      field<&CinderVolumeSource::fs_type>(2, "fsType"),
      field<&CinderVolumeSource::read_only>(3, "readOnly").plain(),
      field<&CinderVolumeSource::secret_ref>(4, "secretRef"),
  };
  static constexpr Type kType{"CinderVolumeSource", kFields};
  return kType;
}

template <>
const Type& type_of<CephFSVolumeSource>() {
  static constexpr Field kFields[] = {
      field<&CephFSVolumeSource::monitors>(1, "monitors").needed().atomic(),
      field<&CephFSVolumeSource::path>(2, "path"),
      field<&CephFSVolumeSource::user>(3, "user"),
      field<&CephFSVolumeSource::secret_file>(4, "secretFile"),
      field<&CephFSVolumeSource::secret_ref>(5, "secretRef"),
      field<&CephFSVolumeSource::read_only>(6, "readOnly").plain(),
  };
  static constexpr Type kType{"CephFSVolumeSource", kFields};
  return kType;
}

template <>
const Type& type_of<FlockerVolumeSource>() {
  static constexpr Field kFields[] = {
      field<&FlockerVolumeSource::dataset_name>(1, "datasetName"),
      field<&FlockerVolumeSource::dataset_uuid>(2, "datasetUUID"),
  };
  static constexpr Type kType{"FlockerVolumeSource", kFields};
  return kType;
}

template <>
const Type& type_of<ObjectFieldSelector>() {
  static constexpr Field kFields[] = {
      field<&ObjectFieldSelector::api_version>(1, "apiVersion"),
      field<&ObjectFieldSelector::field_path>(2, "fieldPath").needed(),
  };
  static constexpr Type kType{"ObjectFieldSelector", kFields};
  return kType;
}

template <>
const Type& type_of<ResourceFieldSelector>() {
  static constexpr Field kFields[] = {
      field<&ResourceFieldSelector::container_name>(1, "containerName"),
      field<&ResourceFieldSelector::resource>(2, "resource").needed(),
      field<&ResourceFieldSelector::divisor>(3, "divisor").printed(),
  };
  static constexpr Type kType{"ResourceFieldSelector", kFields};
  return kType;
}

template <>
const Type& type_of<DownwardAPIVolumeFile>() {
  static constexpr Field kFields[] = {
      field<&DownwardAPIVolumeFile::path>(1, "path").needed(),
      field<&DownwardAPIVolumeFile::field_ref>(2, "fieldRef"),
      field<&DownwardAPIVolumeFile::resource_field_ref>(3, "resourceFieldRef"),
      field<&DownwardAPIVolumeFile::mode>(4, "mode"),
      field<&DownwardAPIVolumeFile::user>(5, "user"),
  };
  static constexpr Type kType{"DownwardAPIVolumeFile", kFields};
  return kType;
}

template <>
const Type& type_of<DownwardAPIVolumeSource>() {
  static constexpr Field kFields[] = {
      field<&DownwardAPIVolumeSource::items>(1, "items").atomic(),
      field<&DownwardAPIVolumeSource::default_mode>(2, "defaultMode"),
      field<&DownwardAPIVolumeSource::default_user>(3, "defaultUser"),
  };
  static constexpr Type kType{"DownwardAPIVolumeSource", kFields};
  return kType;
}

template <>
const Type& type_of<FCVolumeSource>() {
  static constexpr Field kFields[] = {
      field<&FCVolumeSource::target_wwns>(1, "targetWWNs").atomic(),
      field<&FCVolumeSource::lun>(2, "lun"),
      field<&FCVolumeSource::fs_type>(3, "fsType"),
      field<&FCVolumeSource::read_only>(4, "readOnly").plain(),
      field<&FCVolumeSource::wwids>(5, "wwids").atomic(),
  };
  static constexpr Type kType{"FCVolumeSource", kFields};
  return kType;
}

template <>
const Type& type_of<AzureFileVolumeSource>() {
  static constexpr Field kFields[] = {
      field<&AzureFileVolumeSource::secret_name>(1, "secretName").needed(),
      field<&AzureFileVolumeSource::share_name>(2, "shareName").needed(),
      field<&AzureFileVolumeSource::read_only>(3, "readOnly").plain(),
  };
  static constexpr Type kType{"AzureFileVolumeSource", kFields};
  return kType;
}

template <>
const Type& type_of<ConfigMapVolumeSource>() {
  static constexpr Field kFields[] = {
      field<&ConfigMapVolumeSource::ref>(1, "localObjectReference").inline_struct(),
      field<&ConfigMapVolumeSource::items>(2, "items").atomic(),
      field<&ConfigMapVolumeSource::default_mode>(3, "defaultMode"),
      field<&ConfigMapVolumeSource::optional>(4, "optional"),
      field<&ConfigMapVolumeSource::default_user>(5, "defaultUser"),
  };
  static constexpr Type kType{"ConfigMapVolumeSource", kFields};
  return kType;
}

template <>
const Type& type_of<VsphereVirtualDiskVolumeSource>() {
  static constexpr Field kFields[] = {
      field<&VsphereVirtualDiskVolumeSource::volume_path>(1, "volumePath").needed(),
      field<&VsphereVirtualDiskVolumeSource::fs_type>(2, "fsType"),
      field<&VsphereVirtualDiskVolumeSource::storage_policy_name>(3, "storagePolicyName"),
      field<&VsphereVirtualDiskVolumeSource::storage_policy_id>(4, "storagePolicyID"),
  };
  static constexpr Type kType{"VsphereVirtualDiskVolumeSource", kFields};
  return kType;
}

template <>
const Type& type_of<QuobyteVolumeSource>() {
  static constexpr Field kFields[] = {
      field<&QuobyteVolumeSource::registry>(1, "registry").needed(),
      field<&QuobyteVolumeSource::volume>(2, "volume").needed(),
      field<&QuobyteVolumeSource::read_only>(3, "readOnly").plain(),
      field<&QuobyteVolumeSource::user>(4, "user"),
      field<&QuobyteVolumeSource::group>(5, "group"),
      field<&QuobyteVolumeSource::tenant>(6, "tenant"),
  };
  static constexpr Type kType{"QuobyteVolumeSource", kFields};
  return kType;
}

template <>
const Type& type_of<AzureDiskVolumeSource>() {
  static constexpr Field kFields[] = {
      field<&AzureDiskVolumeSource::disk_name>(1, "diskName").needed(),
      field<&AzureDiskVolumeSource::disk_uri>(2, "diskURI").needed(),
      field<&AzureDiskVolumeSource::caching_mode>(3, "cachingMode"),
      field<&AzureDiskVolumeSource::fs_type>(4, "fsType"),
      field<&AzureDiskVolumeSource::read_only>(5, "readOnly"),
      field<&AzureDiskVolumeSource::kind>(6, "kind"),
  };
  static constexpr Type kType{"AzureDiskVolumeSource", kFields};
  return kType;
}

template <>
const Type& type_of<PhotonPersistentDiskVolumeSource>() {
  static constexpr Field kFields[] = {
      field<&PhotonPersistentDiskVolumeSource::pd_id>(1, "pdID").needed(),
      field<&PhotonPersistentDiskVolumeSource::fs_type>(2, "fsType"),
  };
  static constexpr Type kType{"PhotonPersistentDiskVolumeSource", kFields};
  return kType;
}

template <>
const Type& type_of<SecretProjection>() {
  static constexpr Field kFields[] = {
      field<&SecretProjection::ref>(1, "localObjectReference").inline_struct(),
      field<&SecretProjection::items>(2, "items").atomic(),
      field<&SecretProjection::optional>(4, "optional"),
  };
  static constexpr Type kType{"SecretProjection", kFields};
  return kType;
}

template <>
const Type& type_of<DownwardAPIProjection>() {
  static constexpr Field kFields[] = {
      field<&DownwardAPIProjection::items>(1, "items").atomic(),
  };
  static constexpr Type kType{"DownwardAPIProjection", kFields};
  return kType;
}

template <>
const Type& type_of<ConfigMapProjection>() {
  static constexpr Field kFields[] = {
      field<&ConfigMapProjection::ref>(1, "localObjectReference").inline_struct(),
      field<&ConfigMapProjection::items>(2, "items").atomic(),
      field<&ConfigMapProjection::optional>(4, "optional"),
  };
  static constexpr Type kType{"ConfigMapProjection", kFields};
  return kType;
}

template <>
const Type& type_of<ServiceAccountTokenProjection>() {
  static constexpr Field kFields[] = {
      field<&ServiceAccountTokenProjection::audience>(1, "audience"),
      field<&ServiceAccountTokenProjection::expiration_seconds>(2, "expirationSeconds"),
      field<&ServiceAccountTokenProjection::path>(3, "path").needed(),
      field<&ServiceAccountTokenProjection::user>(4, "user"),
  };
  static constexpr Type kType{"ServiceAccountTokenProjection", kFields};
  return kType;
}

template <>
const Type& type_of<ClusterTrustBundleProjection>() {
  static constexpr Field kFields[] = {
      field<&ClusterTrustBundleProjection::name>(1, "name"),
      field<&ClusterTrustBundleProjection::signer_name>(2, "signerName"),
      field<&ClusterTrustBundleProjection::label_selector>(3, "labelSelector"),
      field<&ClusterTrustBundleProjection::optional>(5, "optional"),
      field<&ClusterTrustBundleProjection::path>(4, "path").needed(),
      field<&ClusterTrustBundleProjection::user>(6, "user"),
  };
  static constexpr Type kType{"ClusterTrustBundleProjection", kFields};
  return kType;
}

template <>
const Type& type_of<PodCertificateProjection>() {
  static constexpr Field kFields[] = {
      field<&PodCertificateProjection::signer_name>(1, "signerName").needed(),
      field<&PodCertificateProjection::key_type>(2, "keyType").needed(),
      field<&PodCertificateProjection::max_expiration_seconds>(3, "maxExpirationSeconds"),
      field<&PodCertificateProjection::credential_bundle_path>(4, "credentialBundlePath"),
      field<&PodCertificateProjection::key_path>(5, "keyPath"),
      field<&PodCertificateProjection::certificate_chain_path>(6, "certificateChainPath"),
      field<&PodCertificateProjection::user_annotations>(7, "userAnnotations"),
      field<&PodCertificateProjection::user>(8, "user"),
  };
  static constexpr Type kType{"PodCertificateProjection", kFields};
  return kType;
}

template <>
const Type& type_of<VolumeProjection>() {
  static constexpr Field kFields[] = {
      field<&VolumeProjection::secret>(1, "secret"),
      field<&VolumeProjection::downward_api>(2, "downwardAPI"),
      field<&VolumeProjection::config_map>(3, "configMap"),
      field<&VolumeProjection::service_account_token>(4, "serviceAccountToken"),
      field<&VolumeProjection::cluster_trust_bundle>(5, "clusterTrustBundle"),
      field<&VolumeProjection::pod_certificate>(6, "podCertificate"),
  };
  static constexpr Type kType{"VolumeProjection", kFields};
  return kType;
}

template <>
const Type& type_of<ProjectedVolumeSource>() {
  static constexpr Field kFields[] = {
      field<&ProjectedVolumeSource::sources>(1, "sources").atomic(),
      field<&ProjectedVolumeSource::default_mode>(2, "defaultMode"),
      field<&ProjectedVolumeSource::default_user>(3, "defaultUser"),
  };
  static constexpr Type kType{"ProjectedVolumeSource", kFields};
  return kType;
}

template <>
const Type& type_of<PortworxVolumeSource>() {
  static constexpr Field kFields[] = {
      field<&PortworxVolumeSource::volume_id>(1, "volumeID").needed(),
      field<&PortworxVolumeSource::fs_type>(2, "fsType"),
      field<&PortworxVolumeSource::read_only>(3, "readOnly").plain(),
  };
  static constexpr Type kType{"PortworxVolumeSource", kFields};
  return kType;
}

template <>
const Type& type_of<ScaleIOVolumeSource>() {
  static constexpr Field kFields[] = {
      field<&ScaleIOVolumeSource::gateway>(1, "gateway").needed(),
      field<&ScaleIOVolumeSource::system>(2, "system").needed(),
      field<&ScaleIOVolumeSource::secret_ref>(3, "secretRef").needed().pointer(),
      field<&ScaleIOVolumeSource::ssl_enabled>(4, "sslEnabled").plain(),
      field<&ScaleIOVolumeSource::protection_domain>(5, "protectionDomain"),
      field<&ScaleIOVolumeSource::storage_pool>(6, "storagePool"),
      field<&ScaleIOVolumeSource::storage_mode>(7, "storageMode"),
      field<&ScaleIOVolumeSource::volume_name>(8, "volumeName"),
      field<&ScaleIOVolumeSource::fs_type>(9, "fsType"),
      field<&ScaleIOVolumeSource::read_only>(10, "readOnly").plain(),
  };
  static constexpr Type kType{"ScaleIOVolumeSource", kFields};
  return kType;
}

template <>
const Type& type_of<StorageOSVolumeSource>() {
  static constexpr Field kFields[] = {
      field<&StorageOSVolumeSource::volume_name>(1, "volumeName"),
      field<&StorageOSVolumeSource::volume_namespace>(2, "volumeNamespace"),
      field<&StorageOSVolumeSource::fs_type>(3, "fsType"),
      field<&StorageOSVolumeSource::read_only>(4, "readOnly").plain(),
      field<&StorageOSVolumeSource::secret_ref>(5, "secretRef"),
  };
  static constexpr Type kType{"StorageOSVolumeSource", kFields};
  return kType;
}

template <>
const Type& type_of<CSIVolumeSource>() {
  static constexpr Field kFields[] = {
      field<&CSIVolumeSource::driver>(1, "driver").needed(),
      field<&CSIVolumeSource::read_only>(2, "readOnly"),
      field<&CSIVolumeSource::fs_type>(3, "fsType"),
      field<&CSIVolumeSource::volume_attributes>(4, "volumeAttributes"),
      field<&CSIVolumeSource::node_publish_secret_ref>(5, "nodePublishSecretRef"),
  };
  static constexpr Type kType{"CSIVolumeSource", kFields};
  return kType;
}

template <>
const Type& type_of<VolumeResourceRequirements>() {
  static constexpr Field kFields[] = {
      field<&VolumeResourceRequirements::limits>(1, "limits"),
      field<&VolumeResourceRequirements::requests>(2, "requests"),
  };
  static constexpr Type kType{"VolumeResourceRequirements", kFields};
  return kType;
}

template <>
const Type& type_of<TypedLocalObjectReference>() {
  static constexpr Field kFields[] = {
      field<&TypedLocalObjectReference::api_group>(1, "apiGroup"),
      field<&TypedLocalObjectReference::kind>(2, "kind").needed(),
      field<&TypedLocalObjectReference::name>(3, "name").needed(),
  };
  static constexpr Type kType{"TypedLocalObjectReference", kFields};
  return kType;
}

template <>
const Type& type_of<TypedObjectReference>() {
  static constexpr Field kFields[] = {
      field<&TypedObjectReference::api_group>(1, "apiGroup"),
      field<&TypedObjectReference::kind>(2, "kind").needed(),
      field<&TypedObjectReference::name>(3, "name").needed(),
      field<&TypedObjectReference::namespace_>(4, "namespace"),
  };
  static constexpr Type kType{"TypedObjectReference", kFields};
  return kType;
}

template <>
const Type& type_of<PersistentVolumeClaimSpec>() {
  static constexpr Field kFields[] = {
      field<&PersistentVolumeClaimSpec::access_modes>(1, "accessModes").atomic(),
      field<&PersistentVolumeClaimSpec::selector>(4, "selector"),
      field<&PersistentVolumeClaimSpec::resources>(2, "resources"),
      field<&PersistentVolumeClaimSpec::volume_name>(3, "volumeName"),
      field<&PersistentVolumeClaimSpec::storage_class_name>(5, "storageClassName"),
      field<&PersistentVolumeClaimSpec::volume_mode>(6, "volumeMode"),
      field<&PersistentVolumeClaimSpec::data_source>(7, "dataSource"),
      field<&PersistentVolumeClaimSpec::data_source_ref>(8, "dataSourceRef"),
      field<&PersistentVolumeClaimSpec::volume_attributes_class_name>(9, "volumeAttributesClassName"),
  };
  static constexpr Type kType{"PersistentVolumeClaimSpec", kFields};
  return kType;
}

template <>
const Type& type_of<PersistentVolumeClaimTemplate>() {
  static constexpr Field kFields[] = {
      field<&PersistentVolumeClaimTemplate::metadata>(1, "metadata"),
      field<&PersistentVolumeClaimTemplate::spec>(2, "spec").needed(),
  };
  static constexpr Type kType{"PersistentVolumeClaimTemplate", kFields};
  return kType;
}

template <>
const Type& type_of<EphemeralVolumeSource>() {
  static constexpr Field kFields[] = {
      field<&EphemeralVolumeSource::volume_claim_template>(1, "volumeClaimTemplate"),
  };
  static constexpr Type kType{"EphemeralVolumeSource", kFields};
  return kType;
}

template <>
const Type& type_of<ImageVolumeSource>() {
  static constexpr Field kFields[] = {
      field<&ImageVolumeSource::reference>(1, "reference"),
      field<&ImageVolumeSource::pull_policy>(2, "pullPolicy"),
  };
  static constexpr Type kType{"ImageVolumeSource", kFields};
  return kType;
}

template <>
const Type& type_of<VolumeSource>() {
  static constexpr Field kFields[] = {
      field<&VolumeSource::host_path>(1, "hostPath"),
      field<&VolumeSource::empty_dir>(2, "emptyDir"),
      field<&VolumeSource::gce_persistent_disk>(3, "gcePersistentDisk"),
      field<&VolumeSource::aws_elastic_block_store>(4, "awsElasticBlockStore"),
      field<&VolumeSource::git_repo>(5, "gitRepo"),
      field<&VolumeSource::secret>(6, "secret"),
      field<&VolumeSource::nfs>(7, "nfs"),
      field<&VolumeSource::iscsi>(8, "iscsi"),
      field<&VolumeSource::glusterfs>(9, "glusterfs"),
      field<&VolumeSource::persistent_volume_claim>(10, "persistentVolumeClaim"),
      field<&VolumeSource::rbd>(11, "rbd"),
      field<&VolumeSource::flex_volume>(12, "flexVolume"),
      field<&VolumeSource::cinder>(13, "cinder"),
      field<&VolumeSource::cephfs>(14, "cephfs"),
      field<&VolumeSource::flocker>(15, "flocker"),
      field<&VolumeSource::downward_api>(16, "downwardAPI"),
      field<&VolumeSource::fc>(17, "fc"),
      field<&VolumeSource::azure_file>(18, "azureFile"),
      field<&VolumeSource::config_map>(19, "configMap"),
      field<&VolumeSource::vsphere_volume>(20, "vsphereVolume"),
      field<&VolumeSource::quobyte>(21, "quobyte"),
      field<&VolumeSource::azure_disk>(22, "azureDisk"),
      field<&VolumeSource::photon_persistent_disk>(23, "photonPersistentDisk"),
      field<&VolumeSource::projected>(26, "projected"),
      field<&VolumeSource::portworx_volume>(24, "portworxVolume"),
      field<&VolumeSource::scale_io>(25, "scaleIO"),
      field<&VolumeSource::storageos>(27, "storageos"),
      field<&VolumeSource::csi>(28, "csi"),
      field<&VolumeSource::ephemeral>(29, "ephemeral"),
      field<&VolumeSource::image>(30, "image"),
  };
  static constexpr Type kType{"VolumeSource", kFields};
  return kType;
}

template <>
const Type& type_of<Volume>() {
  static constexpr Field kFields[] = {
      field<&Volume::name>(1, "name").needed(),
      field<&Volume::source>(2, "volumeSource").inline_struct(),
  };
  static constexpr Type kType{"Volume", kFields};
  return kType;
}

}  // namespace keelson::api
