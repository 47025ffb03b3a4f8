#pragma once
// Volumes: every v1 source; the agent acts on a few of them and reports the others by name.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/meta.h"

namespace keelson::api {

struct HostPathVolumeSource {
  std::string path;
  std::string type;
  bool operator==(const HostPathVolumeSource&) const = default;
};

struct EmptyDirVolumeSource {
  std::string medium;
  std::optional<Quantity> size_limit;
  std::optional<int32_t> mode;
  bool operator==(const EmptyDirVolumeSource&) const = default;
};

struct GCEPersistentDiskVolumeSource {
  std::string pd_name;
  std::string fs_type;
  std::optional<int32_t> partition;
  std::optional<bool> read_only;
  bool operator==(const GCEPersistentDiskVolumeSource&) const = default;
};

struct AWSElasticBlockStoreVolumeSource {
  std::string volume_id;
  std::string fs_type;
  std::optional<int32_t> partition;
  std::optional<bool> read_only;
  bool operator==(const AWSElasticBlockStoreVolumeSource&) const = default;
};

struct GitRepoVolumeSource {
  std::string repository;
  std::string revision;
  std::string directory;
  bool operator==(const GitRepoVolumeSource&) const = default;
};

struct KeyToPath {
  std::string key;
  std::string path;
  std::optional<int32_t> mode;
  std::optional<int64_t> user;
  bool operator==(const KeyToPath&) const = default;
};

struct SecretVolumeSource {
  std::string secret_name;
  std::vector<KeyToPath> items;
  std::optional<int32_t> default_mode;
  std::optional<bool> optional;
  std::optional<int64_t> default_user;
  bool operator==(const SecretVolumeSource&) const = default;
};

struct NFSVolumeSource {
  std::string server;
  std::string path;
  std::optional<bool> read_only;
  bool operator==(const NFSVolumeSource&) const = default;
};

struct ISCSIVolumeSource {
  std::string target_portal;
  std::string iqn;
  int32_t lun = 0;
  std::string iscsi_interface;
  std::string fs_type;
  std::optional<bool> read_only;
  std::vector<std::string> portals;
  std::optional<bool> chap_auth_discovery;
  std::optional<bool> chap_auth_session;
  Box<LocalObjectReference> secret_ref;
  std::string initiator_name;
  bool operator==(const ISCSIVolumeSource&) const = default;
};

struct GlusterfsVolumeSource {
  std::string endpoints;
  std::string path;
  std::optional<bool> read_only;
  bool operator==(const GlusterfsVolumeSource&) const = default;
};

struct PersistentVolumeClaimVolumeSource {
  std::string claim_name;
  std::optional<bool> read_only;
  bool operator==(const PersistentVolumeClaimVolumeSource&) const = default;
};

struct RBDVolumeSource {
  std::vector<std::string> monitors;
  std::string image;
  std::string fs_type;
  std::string pool;
  std::string user;
  std::string keyring;
  Box<LocalObjectReference> secret_ref;
  std::optional<bool> read_only;
  bool operator==(const RBDVolumeSource&) const = default;
};

struct FlexVolumeSource {
  std::string driver;
  std::string fs_type;
  Box<LocalObjectReference> secret_ref;
  std::optional<bool> read_only;
  std::map<std::string, std::string> options;
  bool operator==(const FlexVolumeSource&) const = default;
};

struct CinderVolumeSource {
  std::string volume_id;
  std::string fs_type;
  std::optional<bool> read_only;
  Box<LocalObjectReference> secret_ref;
  bool operator==(const CinderVolumeSource&) const = default;
};

struct CephFSVolumeSource {
  std::vector<std::string> monitors;
  std::string path;
  std::string user;
  std::string secret_file;
  Box<LocalObjectReference> secret_ref;
  std::optional<bool> read_only;
  bool operator==(const CephFSVolumeSource&) const = default;
};

struct FlockerVolumeSource {
  std::string dataset_name;
  std::string dataset_uuid;
  bool operator==(const FlockerVolumeSource&) const = default;
};

struct ObjectFieldSelector {
  std::string api_version;
  std::string field_path;
  bool operator==(const ObjectFieldSelector&) const = default;
};

struct ResourceFieldSelector {
  std::string container_name;
  std::string resource;
  std::optional<Quantity> divisor;
  bool operator==(const ResourceFieldSelector&) const = default;
};

struct DownwardAPIVolumeFile {
  std::string path;
  Box<ObjectFieldSelector> field_ref;
  Box<ResourceFieldSelector> resource_field_ref;
  std::optional<int32_t> mode;
  std::optional<int64_t> user;
  bool operator==(const DownwardAPIVolumeFile&) const = default;
};

struct DownwardAPIVolumeSource {
  std::vector<DownwardAPIVolumeFile> items;
  std::optional<int32_t> default_mode;
  std::optional<int64_t> default_user;
  bool operator==(const DownwardAPIVolumeSource&) const = default;
};

struct FCVolumeSource {
  std::vector<std::string> target_wwns;
  std::optional<int32_t> lun;
  std::string fs_type;
  std::optional<bool> read_only;
  std::vector<std::string> wwids;
  bool operator==(const FCVolumeSource&) const = default;
};

struct AzureFileVolumeSource {
  std::string secret_name;
  std::string share_name;
  std::optional<bool> read_only;
  bool operator==(const AzureFileVolumeSource&) const = default;
};

struct ConfigMapVolumeSource {
  LocalObjectReference ref;
  std::vector<KeyToPath> items;
  std::optional<int32_t> default_mode;
  std::optional<bool> optional;
  std::optional<int64_t> default_user;
  bool operator==(const ConfigMapVolumeSource&) const = default;
};

struct VsphereVirtualDiskVolumeSource {
  std::string volume_path;
  std::string fs_type;
  std::string storage_policy_name;
  std::string storage_policy_id;
  bool operator==(const VsphereVirtualDiskVolumeSource&) const = default;
};

struct QuobyteVolumeSource {
  std::string registry;
  std::string volume;
  std::optional<bool> read_only;
  std::string user;
  std::string group;
  std::string tenant;
  bool operator==(const QuobyteVolumeSource&) const = default;
};

struct AzureDiskVolumeSource {
  std::string disk_name;
  std::string disk_uri;
  std::string caching_mode;
  std::string fs_type;
  std::optional<bool> read_only;
  std::string kind;
  bool operator==(const AzureDiskVolumeSource&) const = default;
};

struct PhotonPersistentDiskVolumeSource {
  std::string pd_id;
  std::string fs_type;
  bool operator==(const PhotonPersistentDiskVolumeSource&) const = default;
};

struct SecretProjection {
  LocalObjectReference ref;
  std::vector<KeyToPath> items;
  std::optional<bool> optional;
  bool operator==(const SecretProjection&) const = default;
};

struct DownwardAPIProjection {
  std::vector<DownwardAPIVolumeFile> items;
  bool operator==(const DownwardAPIProjection&) const = default;
};

struct ConfigMapProjection {
  LocalObjectReference ref;
  std::vector<KeyToPath> items;
  std::optional<bool> optional;
  bool operator==(const ConfigMapProjection&) const = default;
};

struct ServiceAccountTokenProjection {
  std::string audience;
  std::optional<int64_t> expiration_seconds;
  std::string path;
  std::optional<int64_t> user;
  bool operator==(const ServiceAccountTokenProjection&) const = default;
};

struct ClusterTrustBundleProjection {
  std::string name;
  std::string signer_name;
  Box<LabelSelector> label_selector;
  std::optional<bool> optional;
  std::string path;
  std::optional<int64_t> user;
  bool operator==(const ClusterTrustBundleProjection&) const = default;
};

struct PodCertificateProjection {
  std::string signer_name;
  std::string key_type;
  std::optional<int32_t> max_expiration_seconds;
  std::string credential_bundle_path;
  std::string key_path;
  std::string certificate_chain_path;
  std::map<std::string, std::string> user_annotations;
  std::optional<int64_t> user;
  bool operator==(const PodCertificateProjection&) const = default;
};

struct VolumeProjection {
  Box<SecretProjection> secret;
  Box<DownwardAPIProjection> downward_api;
  Box<ConfigMapProjection> config_map;
  Box<ServiceAccountTokenProjection> service_account_token;
  Box<ClusterTrustBundleProjection> cluster_trust_bundle;
  Box<PodCertificateProjection> pod_certificate;
  bool operator==(const VolumeProjection&) const = default;
};

struct ProjectedVolumeSource {
  std::vector<VolumeProjection> sources;
  std::optional<int32_t> default_mode;
  std::optional<int64_t> default_user;
  bool operator==(const ProjectedVolumeSource&) const = default;
};

struct PortworxVolumeSource {
  std::string volume_id;
  std::string fs_type;
  std::optional<bool> read_only;
  bool operator==(const PortworxVolumeSource&) const = default;
};

struct ScaleIOVolumeSource {
  std::string gateway;
  std::string system;
  LocalObjectReference secret_ref;
  std::optional<bool> ssl_enabled;
  std::string protection_domain;
  std::string storage_pool;
  std::string storage_mode;
  std::string volume_name;
  std::string fs_type;
  std::optional<bool> read_only;
  bool operator==(const ScaleIOVolumeSource&) const = default;
};

struct StorageOSVolumeSource {
  std::string volume_name;
  std::string volume_namespace;
  std::string fs_type;
  std::optional<bool> read_only;
  Box<LocalObjectReference> secret_ref;
  bool operator==(const StorageOSVolumeSource&) const = default;
};

struct CSIVolumeSource {
  std::string driver;
  std::optional<bool> read_only;
  std::string fs_type;
  std::map<std::string, std::string> volume_attributes;
  Box<LocalObjectReference> node_publish_secret_ref;
  bool operator==(const CSIVolumeSource&) const = default;
};

struct VolumeResourceRequirements {
  std::map<std::string, Quantity> limits;
  std::map<std::string, Quantity> requests;
  bool operator==(const VolumeResourceRequirements&) const = default;
};

struct TypedLocalObjectReference {
  std::string api_group;
  std::string kind;
  std::string name;
  bool operator==(const TypedLocalObjectReference&) const = default;
};

struct TypedObjectReference {
  std::string api_group;
  std::string kind;
  std::string name;
  std::string namespace_;
  bool operator==(const TypedObjectReference&) const = default;
};

struct PersistentVolumeClaimSpec {
  std::vector<std::string> access_modes;
  Box<LabelSelector> selector;
  VolumeResourceRequirements resources;
  std::string volume_name;
  std::string storage_class_name;
  std::string volume_mode;
  Box<TypedLocalObjectReference> data_source;
  Box<TypedObjectReference> data_source_ref;
  std::string volume_attributes_class_name;
  bool operator==(const PersistentVolumeClaimSpec&) const = default;
};

struct PersistentVolumeClaimTemplate {
  ObjectMeta metadata;
  PersistentVolumeClaimSpec spec;
  bool operator==(const PersistentVolumeClaimTemplate&) const = default;
};

struct EphemeralVolumeSource {
  Box<PersistentVolumeClaimTemplate> volume_claim_template;
  bool operator==(const EphemeralVolumeSource&) const = default;
};

struct ImageVolumeSource {
  std::string reference;
  std::string pull_policy;
  bool operator==(const ImageVolumeSource&) const = default;
};

struct VolumeSource {
  Box<HostPathVolumeSource> host_path;
  Box<EmptyDirVolumeSource> empty_dir;
  Box<GCEPersistentDiskVolumeSource> gce_persistent_disk;
  Box<AWSElasticBlockStoreVolumeSource> aws_elastic_block_store;
  Box<GitRepoVolumeSource> git_repo;
  Box<SecretVolumeSource> secret;
  Box<NFSVolumeSource> nfs;
  Box<ISCSIVolumeSource> iscsi;
  Box<GlusterfsVolumeSource> glusterfs;
  Box<PersistentVolumeClaimVolumeSource> persistent_volume_claim;
  Box<RBDVolumeSource> rbd;
  Box<FlexVolumeSource> flex_volume;
  Box<CinderVolumeSource> cinder;
  Box<CephFSVolumeSource> cephfs;
  Box<FlockerVolumeSource> flocker;
  Box<DownwardAPIVolumeSource> downward_api;
  Box<FCVolumeSource> fc;
  Box<AzureFileVolumeSource> azure_file;
  Box<ConfigMapVolumeSource> config_map;
  Box<VsphereVirtualDiskVolumeSource> vsphere_volume;
  Box<QuobyteVolumeSource> quobyte;
  Box<AzureDiskVolumeSource> azure_disk;
  Box<PhotonPersistentDiskVolumeSource> photon_persistent_disk;
  Box<ProjectedVolumeSource> projected;
  Box<PortworxVolumeSource> portworx_volume;
  Box<ScaleIOVolumeSource> scale_io;
  Box<StorageOSVolumeSource> storageos;
  Box<CSIVolumeSource> csi;
  Box<EphemeralVolumeSource> ephemeral;
  Box<ImageVolumeSource> image;
  bool operator==(const VolumeSource&) const = default;
};

struct Volume {
  std::string name;
  VolumeSource source;
  bool operator==(const Volume&) const = default;
};

}  // namespace keelson::api
