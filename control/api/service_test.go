// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"testing"

	"github.com/sluice-mesh/sluice/control/api"
)

func TestServicesOfKubernetesAreTold(t *testing.T) {
	services := map[string]api.Service{
		"made":  {Host: "10.96.0.7", Port: 8080, NodePort: 31080},
		"taken": {Fault: "there is a Service of this name"},
	}
	w := start(t, func(o *api.Options) {
		o.Services = func(namespace, gateway string) api.Service {
			if namespace != "default/default" {
				return api.Service{}
			}
			return services[gateway]
		}
	})
	const text = "service: {host: 10.0.0.9, port: 1}\nroutes: {\"[127.0.0.1:80]\": {}}\n"
	w.put("gateways", "made", "name: made\nport: 8080\n"+text)
	w.put("gateways", "taken", "name: taken\nport: 8081/tcp\n"+text)
	w.put("gateways", "none", "name: none\nport: 8082\n"+text)
	for name, want := range map[string]string{
		"made":  "\"service\":{\"host\":\"10.96.0.7\",\"port\":\"8080/http\"}",
		"taken": "\"service\":{\"host\":\"10.0.0.9\",\"port\":\"1\"}",
		"none":  "\"service\":{\"host\":\"10.0.0.9\",\"port\":\"1\"}",
	} {
		w.ask("GET", "/api/v1/gateways/"+name, "", "Accept", "application/json").is(200).has(want)
	}
	w.ask("GET", "/api/v1/status", "").is(200).
		has(`"service":{"host":"10.96.0.7","port":8080,"node_port":31080}`).
		has(`"service":{"fault":"there is a Service of this name"}`)
}
