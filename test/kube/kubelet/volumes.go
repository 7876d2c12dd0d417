// SPDX-License-Identifier: Apache-2.0

//go:build linux

package kubelet

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// volumesDir is where the volumes of a pod are in its root, by name. What
// containers mount are links to them, so nothing is ever mounted, and a crash
// leaves nothing.
const volumesDir = "/.volumes"

// refresh is how often volumes are made anew of what they show. A real kubelet
// takes a minute.
const refresh = 500 * time.Millisecond

// defaultMode is that of files in volumes.
const defaultMode fs.FileMode = 0o644

// content is what a volume that shows objects holds.
type content map[string]entry // by path in it

// entry is a file of a volume.
type entry struct {
	text string
	mode fs.FileMode
}

// volumes are those of one pod. They belong to its goroutine.
type volumes struct {
	pod     *pod
	root    string             // what the pod's containers see as /
	written map[string]content // by name of volume: what it shows
	claims  map[string]string  // by name of volume: the claim, NAMESPACE/NAME
	turn    int                // number of the newest writing
}

// mount makes all volumes of the pod.
func (v *volumes) mount(ctx context.Context) error {
	v.written, v.claims = make(map[string]content), make(map[string]string)
	if err := v.furnish(); err != nil {
		return err
	}
	for i := range v.pod.spec.Spec.Volumes {
		if err := v.one(ctx, &v.pod.spec.Spec.Volumes[i]); err != nil {
			return fmt.Errorf("volume %s: %w", v.pod.spec.Spec.Volumes[i].Name, err)
		}
	}
	for _, c := range v.pod.containers {
		for _, m := range c.spec.VolumeMounts {
			if err := v.link(m); err != nil {
				return fmt.Errorf("volume %s of container %s: %w", m.Name, c.spec.Name, err)
			}
		}
	}
	return nil
}

// furnish makes what a kubelet adds to each container.
func (v *volumes) furnish() error {
	p := v.pod
	gateway := p.kubelet.Network.Gateway().String()
	if err := errors.Join(os.MkdirAll(v.in("etc"), 0o755), os.MkdirAll(v.in(volumesDir), 0o755)); err != nil {
		return err
	}
	domain := p.spec.Namespace + ".svc." + clusterDomain
	return errors.Join(
		os.WriteFile(v.in("etc/hosts"), []byte("127.0.0.1 localhost\n"+p.box.ip.String()+" "+p.spec.Name+"\n"), 0o644),
		os.WriteFile(v.in("etc/resolv.conf"), []byte("nameserver "+gateway+"\nsearch "+domain+" svc."+clusterDomain+" "+
			clusterDomain+"\noptions ndots:5\n"), 0o644))
}

// in returns where a path of the root is.
func (v *volumes) in(path string) string { return filepath.Join(v.root, path) }

// dir returns where a volume is.
func (v *volumes) dir(name string) string { return v.in(filepath.Join(volumesDir, name)) }

// one makes one volume.
func (v *volumes) one(ctx context.Context, of *corev1.Volume) error {
	if claim := of.PersistentVolumeClaim; claim != nil {
		return v.claim(of.Name, v.pod.spec.Namespace+"/"+claim.ClaimName)
	}
	dir := v.dir(of.Name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if of.EmptyDir != nil {
		return v.open(dir)
	}
	shown, err := v.shown(ctx, of)
	if err != nil {
		return err
	}
	return v.write(of.Name, shown)
}

// open lets the pod's users write to a directory.
func (v *volumes) open(dir string) error {
	if err := os.Chmod(dir, 0o777); err != nil { // whatever the umask is
		return err
	}
	return os.Chown(dir, -1, v.group())
}

// group returns the group of volumes, -1 for none in particular.
func (v *volumes) group() int {
	if s := v.pod.spec.Spec.SecurityContext; s != nil && s.FSGroup != nil {
		return int(*s.FSGroup)
	}
	return -1
}

// claim moves what is kept under a claim to its volume, until release moves it
// back. A claim has one pod at a time.
func (v *volumes) claim(name, claim string) error {
	kept := v.pod.kubelet.claimDir(claim)
	if err := os.MkdirAll(filepath.Dir(kept), 0o755); err != nil {
		return err
	}
	if !v.pod.kubelet.takeClaim(claim, v.pod) {
		return fmt.Errorf("the claim %s is in use", claim)
	}
	v.claims[name] = claim
	err := os.Rename(kept, v.dir(name))
	if errors.Is(err, fs.ErrNotExist) {
		err = os.Mkdir(v.dir(name), 0o755)
	}
	if err != nil {
		return err
	}
	return v.open(v.dir(name))
}

// release gives the claims back, once nothing of the pod runs any more.
func (v *volumes) release() error {
	var faults []error
	for name, claim := range v.claims {
		faults = append(faults, os.Rename(v.dir(name), v.pod.kubelet.claimDir(claim)))
		v.pod.kubelet.dropClaim(claim)
	}
	v.claims = nil
	return errors.Join(faults...)
}

// shown returns what a volume is to hold now.
func (v *volumes) shown(ctx context.Context, of *corev1.Volume) (content, error) {
	p, all := v.pod, make(content)
	switch {
	case of.Secret != nil:
		texts, err := p.secret(ctx, of.Secret.SecretName, of.Secret.Optional)
		return all, errors.Join(err, all.add(texts, of.Secret.Items, of.Secret.DefaultMode, of.Secret.Optional))
	case of.ConfigMap != nil:
		texts, err := p.configMap(ctx, of.ConfigMap.Name, of.ConfigMap.Optional)
		return all, errors.Join(err, all.add(texts, of.ConfigMap.Items, of.ConfigMap.DefaultMode, of.ConfigMap.Optional))
	case of.DownwardAPI != nil:
		p.downward(all, of.DownwardAPI.Items, of.DownwardAPI.DefaultMode)
		return all, nil
	case of.Projected != nil:
		for i := range of.Projected.Sources {
			if err := v.project(ctx, all, of, &of.Projected.Sources[i]); err != nil {
				return nil, err
			}
		}
		return all, nil
	}
	return nil, errors.New("its kind is not implemented")
}

// project adds what one source of a projected volume shows.
func (v *volumes) project(ctx context.Context, all content, of *corev1.Volume, from *corev1.VolumeProjection) error {
	p, mode := v.pod, of.Projected.DefaultMode
	switch {
	case from.Secret != nil:
		texts, err := p.secret(ctx, from.Secret.Name, from.Secret.Optional)
		return errors.Join(err, all.add(texts, from.Secret.Items, mode, from.Secret.Optional))
	case from.ConfigMap != nil:
		texts, err := p.configMap(ctx, from.ConfigMap.Name, from.ConfigMap.Optional)
		return errors.Join(err, all.add(texts, from.ConfigMap.Items, mode, from.ConfigMap.Optional))
	case from.DownwardAPI != nil:
		p.downward(all, from.DownwardAPI.Items, mode)
		return nil
	case from.ServiceAccountToken != nil:
		return v.token(ctx, all, of.Name, from.ServiceAccountToken, mode)
	}
	return errors.New("a source of it is not implemented")
}

// token adds a token of the pod's account. It is made once: no bed lives as
// long as a token.
func (v *volumes) token(ctx context.Context, all content, volume string, from *corev1.ServiceAccountTokenProjection, mode *int32) error {
	if made, ok := v.written[volume][from.Path]; ok {
		all[from.Path] = made
		return nil
	}
	p := v.pod
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		ExpirationSeconds: from.ExpirationSeconds,
		BoundObjectRef: &authenticationv1.BoundObjectReference{
			APIVersion: "v1", Kind: "Pod", Name: p.spec.Name, UID: p.spec.UID,
		},
	}}
	if from.Audience != "" {
		request.Spec.Audiences = []string{from.Audience}
	}
	made, err := p.kubelet.Client.CoreV1().ServiceAccounts(p.spec.Namespace).CreateToken(ctx, p.spec.Spec.ServiceAccountName, request, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	all[from.Path] = entry{made.Status.Token, modeOf(nil, mode)}
	return nil
}

// add adds texts, those that items name or all of them.
func (all content) add(texts map[string]string, items []corev1.KeyToPath, mode *int32, optional *bool) error {
	if items == nil {
		for key, text := range texts {
			all[key] = entry{text, modeOf(nil, mode)}
		}
		return nil
	}
	for _, item := range items {
		text, ok, err := pick(texts, item.Key, optional, nil)
		if err != nil {
			return err
		}
		if ok {
			all[item.Path] = entry{text, modeOf(item.Mode, mode)}
		}
	}
	return nil
}

// downward adds what the pod says of itself.
func (p *pod) downward(all content, items []corev1.DownwardAPIVolumeFile, mode *int32) {
	for _, item := range items {
		if item.FieldRef != nil {
			all[item.Path] = entry{p.field(item.FieldRef.FieldPath), modeOf(item.Mode, mode)}
		}
	}
}

// modeOf returns the mode that is said first.
func modeOf(modes ...*int32) fs.FileMode {
	for _, mode := range modes {
		if mode != nil {
			return fs.FileMode(*mode) //nolint:gosec // the API server bounds it
		}
	}
	return defaultMode
}

// update writes the volumes anew whose objects have changed. What cannot be had
// now stays as it is.
func (v *volumes) update(ctx context.Context) {
	for i := range v.pod.spec.Spec.Volumes {
		of := &v.pod.spec.Spec.Volumes[i]
		if _, shows := v.written[of.Name]; !shows {
			continue
		}
		shown, err := v.shown(ctx, of)
		if err == nil && !maps.Equal(shown, v.written[of.Name]) {
			err = v.write(of.Name, shown)
		}
		if err != nil {
			v.pod.kubelet.Log.DebugContext(ctx, "a volume stays as it is", "pod", v.pod.spec.Name, "volume", of.Name, "error", err)
		}
	}
}

// write has a volume hold something, all of it at once: names in it are links
// through ..data, which is a link to what was written last.
func (v *volumes) write(name string, shown content) error {
	dir := v.dir(name)
	v.turn++
	turn := "..turn-" + strconv.Itoa(v.turn)
	if err := os.Mkdir(filepath.Join(dir, turn), 0o755); err != nil {
		return err
	}
	for path, e := range shown {
		if err := v.fill(dir, turn, path, e); err != nil {
			return err
		}
	}
	next := filepath.Join(dir, "..data_tmp")
	if err := errors.Join(os.Symlink(turn, next), os.Rename(next, filepath.Join(dir, "..data"))); err != nil {
		return err
	}
	for path := range v.written[name] {
		if _, still := shown[path]; !still {
			_ = os.Remove(filepath.Join(dir, path))
		}
	}
	v.written[name] = shown
	return nil
}

// fill writes one file of a turn, and the link to it.
func (v *volumes) fill(dir, turn, path string, e entry) error {
	if filepath.Dir(path) != "." {
		return fmt.Errorf("%s: folders in volumes are not implemented", path)
	}
	file, mode := filepath.Join(dir, turn, path), e.mode
	if v.group() >= 0 {
		mode |= 0o440
	}
	err := errors.Join(os.WriteFile(file, []byte(e.text), mode), os.Chmod(file, mode), os.Chown(file, -1, v.group()))
	if err != nil {
		return err
	}
	if err := os.Symlink(filepath.Join("..data", path), filepath.Join(dir, path)); !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// link has a path lead to a volume.
func (v *volumes) link(m corev1.VolumeMount) error {
	if _, err := os.Stat(v.dir(m.Name)); err != nil {
		return err
	}
	path, to := v.in(m.MountPath), filepath.Join(volumesDir, m.Name, m.SubPath)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if _, shows := v.written[m.Name]; !shows && m.SubPath != "" {
		if err := errors.Join(os.MkdirAll(v.in(to), 0o755), v.open(v.in(to))); err != nil {
			return err
		}
	}
	err := os.Symlink(to, path)
	if errors.Is(err, fs.ErrExist) {
		if there, _ := os.Readlink(path); there != to {
			return fmt.Errorf("something else is at %s; containers of a pod share their root here", m.MountPath)
		}
		return nil
	}
	return err
}
