//! Host ports that Services and containers request on this machine.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use tests::mesh::Mesh;
use tests::wait;

use crate::PROBE;

#[test]
fn a_node_port_is_served_on_this_machine_and_in_the_mesh_until_its_service_goes() {
    let mesh = Mesh::up(&["samples/echo"], PROBE);
    let port = free_node_port();
    let service = |name: &str| {
        format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: echo}}\nspec:\n  type: NodePort\n  \
             selector: {{app: echo-server}}\n  ports:\n  - {{name: http, port: 80, targetPort: 8080, nodePort: {port}}}\n"
        )
    };
    mesh.apply_text(&service("outside")).text();
    assert!(mesh.apply_text(&service("outside")).text().contains("unchanged"));
    answers(port);
    let inside = format!("http://10.244.0.1:{port}/");
    mesh.echo("echo", "deployment/client-plain", &[&inside]).all_good();
    let shown = mesh.ostria(&["get", "services", "-n", "echo"]).text();
    assert!(shown.contains(&format!("80:{port}/TCP")), "{shown}");
    let refused = mesh.apply_text(&service("second")).refusal();
    assert!(refused.contains(&format!("{port} is already used by Service echo/outside")), "{refused}");
    mesh.delete_text(&service("outside"));
    wait::until("the port is closed", Duration::from_secs(5), || {
        match TcpStream::connect(("127.0.0.1", port)) {
            Ok(_) => Err("it takes connections".to_owned()),
            Err(_) => Ok(()),
        }
    });
    let taken = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let refused = mesh.apply_text(&service("third")).refusal();
    assert!(refused.contains("spec.ports[0].nodePort") && refused.contains("cannot be opened"), "{refused}");
    let services = mesh.get("services", "echo");
    assert!(services.iter().all(|service| service["metadata"]["name"] != "third"), "{services:?}");
    drop(taken);
    let pod = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: asking, namespace: echo}}\nspec:\n  containers:\n  - name: echo\n    \
         image: echo\n    command: [echo, server, --http=8080]\n    ports: [{{containerPort: 8080, hostPort: {port}}}]\n"
    );
    mesh.apply_text(&pod).text();
    answers(port);
}

fn answers(port: u16) {
    wait::until("the port answers", Duration::from_secs(10), || {
        let answer = ask(port).map_err(|error| error.to_string())?;
        if answer.starts_with("HTTP/1.1 200") { Ok(()) } else { Err(answer) }
    });
}

fn ask(port: u16) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: echo-server\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// A free port in the range of node ports.
fn free_node_port() -> u16 {
    let mut ports = 31_000..32_000;
    ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("one of a thousand is free")
}
